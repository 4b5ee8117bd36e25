"""What holds of every register, whatever a marketplace says and in whatever order it arrives
(marketplaces.md section 1, *Fold*).
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import CHANGES_OF_A_LIFE, COIN, MOMENTS, PLAN_TYPES
from world import ACME, AGREEMENT, ENTITLEMENT, SAAS

from examples import examples
from marketplace_worker.lifecycle.notes import Note, Progress
from marketplace_worker.lifecycle.projection import SubscriptionStatus, fold
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import SubscriptionKey

KEYS = st.sampled_from([AGREEMENT, ENTITLEMENT, SAAS])


@st.composite
def notes(draw: st.DrawFn, key: SubscriptionKey) -> list[Note]:
    """Anything that can be noted of one subscription, most of it at few moments."""
    found = []
    for number in range(draw(st.integers(0, 7))):
        change = draw(CHANGES_OF_A_LIFE[key.marketplace])
        plain = Note(
            draw(MOMENTS),
            draw(st.integers(1, 3)),
            f"n-{number}",
            change,
            plan_type=draw(PLAN_TYPES),
            term_ends_at=draw(st.none() | MOMENTS),
            auto_renews=draw(st.none() | COIN),
            licence=draw(st.sampled_from([None, "l-1", "l-2"])),
            term_started=draw(st.none() | COIN),
            closes_usage=draw(COIN),
        )
        operation = draw(st.sampled_from([None, "op-1", "op-2"]))
        if operation is not None:
            operation = f"{operation}:{change.kind}"
        found.append(replace(plain, operation=operation, progress=draw(st.sampled_from(Progress))))
    return found


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_a_register_comes_to_the_same_in_every_order_and_to_something_sensible(
    data: st.DataObject,
) -> None:
    """Total, and its spans lie one after the other; what has a final report had counted."""
    key = data.draw(KEYS)
    drawn = data.draw(notes(key))
    links = tuple(Link(data.draw(MOMENTS), "l", ACME) for _ in range(data.draw(st.integers(0, 1))))
    first, second = Subscription(key), Subscription(key)
    for each in drawn:
        first = first.with_note(each)
    for each in data.draw(st.permutations([*drawn, *drawn])):
        second = second.with_note(each)
    assert first == second

    projection = fold(first, links)
    assert projection == fold(second, links)
    moments = [moment for span in projection.spans for moment in (span.starts_at, span.ends_at)]
    known = [moment for moment in moments if moment is not None]
    assert known == sorted(known)
    assert None not in moments[:-1]
    counts_on = bool(projection.spans) and projection.spans[-1].ends_at is None
    assert counts_on == (
        projection.status is SubscriptionStatus.ACTIVE
        or (projection.status is SubscriptionStatus.ENDING and not projection.ends_at)
    )
    began = [span.starts_at for span in projection.spans]
    assert all(any(start <= at for start in began) for at in projection.usage_closed_at)
