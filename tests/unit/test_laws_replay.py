"""A replay of the journal gives the same decisions (lifecycle.md section 10, 8)."""

from hypothesis import given, settings
from strategies import COIN
from test_laws_histories import AUTOMATIC, Arrivals, arrivals
from world import FAR, DecisionRecord, World, shown

from examples import examples
from marketplace_worker.lifecycle.facts import DeadlineCame
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.replay import Readings, readings_of, replay_decision


@settings(max_examples=examples(150), deadline=None)
@given(arrivals(), COIN)
def test_the_recorded_answers_are_all_that_a_replay_needs(
    history: Arrivals, automatic: bool
) -> None:
    """
    Neither logins nor feeds, neither the guard nor the size of the fleet, and no look that came to
    nothing: only what the journal has of each fact.
    """
    policies = AUTOMATIC if automatic else Policies()
    journal: list[tuple[DecisionRecord, Readings]] = []

    def write_down(world: World, each: DecisionRecord) -> None:
        rechecked = each.decision.results
        changed = any(result.organization != result.before for result in rechecked)
        if isinstance(each.fact, DeadlineCame) and not changed and not each.decision.events:
            return
        journal.append((each, readings_of(each.decision, world.fleet)))

    world = World(policies, watch=write_down)
    for now, fact in history:
        world.wait(now)
        world.apply(fact, now)
    world.wait(FAR)

    fleet = Fleet()
    for each, readings in journal:
        again = replay_decision(each.fact, fleet, policies, readings, now=each.now)
        assert again.outcome is each.decision.outcome, shown(each.fact)
        assert again.results == each.decision.results, shown(each.fact)
        assert again.subscription == each.decision.subscription, shown(each.fact)
