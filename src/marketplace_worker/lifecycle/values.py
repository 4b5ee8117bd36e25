"""`dataclass` and `replace` of the core: those of the standard library, in less than half the time.

A decision makes about forty frozen values with 200 fields, and copies an organization, which has
30, a few times.  The standard functions set each field of a frozen class by its name, through
`object.__setattr__`; these call the setter of its slot.  mypy reads the import of the standard
ones, and checks classes and copies as usual.
"""

import dataclasses
from dataclasses import MISSING, fields
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from dataclasses import dataclass, replace
else:

    def dataclass(*, frozen: bool = False, **options: bool) -> Any:  # noqa: ANN401 - for mypy: above
        """As `dataclasses.dataclass`, with a faster `__init__` where the class is frozen."""

        def decorate(cls: type) -> type:
            made = dataclasses.dataclass(frozen=frozen, **options)(cls)
            if frozen:
                made.__init__ = _init_function(made)
            return made

        return decorate

    def replace(value: Any, /, **changes: Any) -> Any:  # noqa: ANN401 - likewise
        """A copy of a dataclass's value with other values in some of its fields."""
        cls = type(value)
        copy = _COPIES.get(cls)
        if copy is None:
            copy = _COPIES[cls] = _copy_function(cls)
        return copy(value, changes)


__all__ = ["dataclass", "replace"]

_COPIES: "dict[type, Callable[[Any, dict[str, Any]], Any]]" = {}
"""By class, the function that copies its values."""


def _init_function(cls: type[Any]) -> "Callable[..., None]":
    """Generate the `__init__` of a class with slots.

    A class without fields, or with a default that is made anew for each value, keeps its own.
    """
    standard: Callable[..., None] = cls.__init__
    names = _init_fields(cls)
    if not names or any(each.default_factory is not MISSING for each in fields(cls)):
        return standard
    lines = [
        f"def function(self, {', '.join(names)}):",
        *(f"    set_{name}(self, {name})" for name in names),
        *_post_init(cls, "self"),
    ]
    init = _generated(lines, cls)
    init.__defaults__ = standard.__defaults__
    return update_wrapper(init, standard)


def _copy_function(cls: type[Any]) -> "Callable[[Any, dict[str, Any]], Any]":
    """Generate the function that copies values of a class with slots.

    Fields that `__init__` does not set are derived anew by `__post_init__`, as in the standard
    function.
    """
    lines = [
        "def function(value, changes):",
        "    new = make(cls)",
        *(f"    set_{name}(new, value.{name})" for name in _init_fields(cls)),
        "    for name, changed in changes.items():",
        "        setters[name](new, changed)",
        *_post_init(cls, "new"),
        "    return new",
    ]
    return _generated(lines, cls)


def _init_fields(cls: type[Any]) -> "Sequence[str]":
    """The names of the fields that `__init__` sets, in order."""
    return [each.name for each in fields(cls) if each.init]


def _post_init(cls: type[Any], value: str) -> "Sequence[str]":
    return [f"    {value}.__post_init__()"] if hasattr(cls, "__post_init__") else []


def _generated(lines: "Sequence[str]", cls: type[Any]) -> "Callable[..., Any]":
    """The function that these lines define as `function`; they know the setters of the slots."""
    setters = {name: getattr(cls, name).__set__ for name in _init_fields(cls)}
    names: dict[str, Any] = {f"set_{name}": setter for name, setter in setters.items()}
    names |= {"make": object.__new__, "cls": cls, "setters": setters}
    exec("\n".join(lines), names)  # noqa: S102 - as dataclasses makes its methods
    function: Callable[..., Any] = names["function"]
    return function
