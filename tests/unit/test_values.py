"""Every frozen dataclass of the core is made and copied as the standard library does it."""

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_values import ORGANIZATIONS, SUBSCRIPTION
from world import moment

from marketplace_worker import lifecycle
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.values import replace
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey


def _frozen_classes() -> list[type[Any]]:
    modules = pkgutil.walk_packages(lifecycle.__path__, f"{lifecycle.__name__}.")
    found = [
        value
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, type)
        and value.__module__ == module.name
        and dataclasses.is_dataclass(value)
        and vars(value)["__dataclass_params__"].frozen
    ]
    assert len(found) > 50
    return found


REAL: list[tuple[Any, Any]] = [
    *((one, other) for one in ORGANIZATIONS for other in ORGANIZATIONS),
    (SUBSCRIPTION, Subscription(SubscriptionKey(Marketplace.AZURE, "s-1"))),
    (
        SubscriptionKey(Marketplace.AWS, "s-1"),
        SubscriptionKey(Marketplace.GCP, "{D3C52313-C65F-43B7-987A-000000000000}"),
    ),
    (
        Event(EventKind.SUSPENDED, OrganizationId("o-1"), 1, moment(1), moment(2), "x", "y", None),
        Event(EventKind.ERASED, OrganizationId("o-2"), 2, moment(3), moment(3), "z", "w", None),
    ),
]
"""Two values of each class that has a `__post_init__`."""


def _pairs() -> list[tuple[Any, Any]]:
    """Two values of each class.  Of those without `__post_init__` the fields may hold anything."""
    made = []
    for cls in _frozen_classes():
        if hasattr(cls, "__post_init__"):
            assert any(isinstance(one, cls) for one, _ in REAL), f"{cls} is among the real ones"
        else:
            names = [each.name for each in dataclasses.fields(cls) if each.init]
            made.append(tuple(cls(**{name: (name, n) for name in names}) for n in range(2)))
    return [*REAL, *made]


def _fields(value: Any) -> dict[str, object]:  # noqa: ANN401 - a value of any class
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}


@pytest.mark.parametrize("cls", _frozen_classes(), ids=lambda cls: cls.__name__)
def test_a_value_is_made_from_its_fields_in_order(cls: type[Any]) -> None:
    """By position or by name, with the same defaults as the standard `__init__` has."""
    given = [each for each in dataclasses.fields(cls) if each.init]
    parameters = inspect.signature(cls).parameters
    assert [*parameters] == [each.name for each in given]
    for each in given:
        if each.default_factory is dataclasses.MISSING:
            has_none = each.default is dataclasses.MISSING
            wanted = inspect.Parameter.empty if has_none else each.default
            assert parameters[each.name].default is wanted
    if not hasattr(cls, "__post_init__"):
        values = [object() for _ in given]
        assert [*_fields(cls(*values)).values()] == values
    with pytest.raises(TypeError, match="argument"):
        cls(**dict.fromkeys(parameters), unknown=None)


@pytest.mark.parametrize(("value", "other"), _pairs(), ids=lambda value: type(value).__name__)
@given(data=st.data())
def test_a_copy_is_the_same_as_the_one_of_the_standard_library(
    value: Any,  # noqa: ANN401 - of any class
    other: Any,  # noqa: ANN401 - likewise
    data: st.DataObject,
) -> None:
    """With any of its fields replaced.  What `__post_init__` refuses is refused, and what it
    derives is derived anew.  The value itself stays as it is, and the copy is as frozen.
    """
    before = _fields(value)
    names = [each.name for each in dataclasses.fields(value) if each.init]
    replaced = data.draw(st.sets(st.sampled_from(names))) if names else set()
    changes = {name: getattr(other, name) for name in replaced}
    try:
        wanted = dataclasses.replace(value, **changes)
    except AssertionError:
        with pytest.raises(AssertionError):
            replace(value, **changes)
        return

    copy = replace(value, **changes)

    assert type(copy) is type(wanted)
    assert _fields(copy) == _fields(wanted)
    assert _fields(value) == before
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(copy, name, None)
