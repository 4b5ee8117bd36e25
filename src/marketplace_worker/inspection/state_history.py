"""How many organizations were in each state at the end of each day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from marketplace_worker.lifecycle.states import State
from marketplace_worker.store.state_counts import StateChange


@dataclass(frozen=True, slots=True)
class StateHistory:
    """Numbers at the end of each UTC day, the oldest first; the last day is today, up to now."""

    days: Sequence[date]
    numbers: Mapping[State, Sequence[int]]

    @property
    def now(self) -> Mapping[State, int]:
        """The numbers of now."""
        return {state: numbers[-1] for state, numbers in self.numbers.items()}

    @property
    def population(self) -> int:
        """From how many organizations the guard's limit is computed."""
        return sum(n for state, n in self.now.items() if state is not State.DEACTIVATED)


def state_history(changes: Sequence[StateChange], today: date, *, days: int) -> StateHistory:
    """Add changes up day by day, over the last `days` days.

    Changes that are dated later, by a clock that was ahead, count as today's.
    """
    shown = [today - timedelta(days=n) for n in range(days - 1, -1, -1)]
    by_day = {(min(each.day, today), each.state): 0 for each in changes}
    for each in changes:
        by_day[min(each.day, today), each.state] += each.change
    return StateHistory(shown, {state: _sums(by_day, state, shown) for state in State})


def _sums(
    by_day: Mapping[tuple[date, State], int], state: State, shown: Sequence[date]
) -> Sequence[int]:
    total = sum(n for (day, of), n in by_day.items() if of is state and day < shown[0])
    sums = []
    for day in shown:
        total += by_day.get((day, state), 0)
        sums.append(total)
    return sums
