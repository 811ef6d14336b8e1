"""What keeps Beam cheap where elements are few and large, and programs short and run often.

Beam asks for the size of a sample of all elements, for its metrics, and pickles them to find out; and it looks at the signature of
every method of a DoFn, inherited ones too, each time it builds the processor of a bundle, which an in-process run does for each of
its stages. In: classes of elements and of DoFns. Out: a coder that needs no bytes for that, and DoFns that are looked at once.
Refuses to know what they are about.
"""

import pickle
from functools import cache, partial
from inspect import isfunction
from types import MethodType
from typing import Any, ClassVar, TypeVar

import apache_beam as beam
from apache_beam.coders import Coder, registry
from apache_beam.transforms.core import get_function_args_defaults

_Class = TypeVar("_Class", bound=type)


class InPlaceCoder(Coder):
    """Of elements that are handed on inside one fused stage, whose size nobody is told; should they ever leave it, by pickle."""

    def encode(self, value: Any) -> bytes:
        """As bytes."""
        return pickle.dumps(value)

    def decode(self, encoded: bytes) -> Any:
        """From this program's own bytes."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """Nothing."""
        return 0

    def is_deterministic(self) -> bool:
        """Not good for keys."""
        return False


def stays_in_place(element: _Class) -> _Class:
    """Decorates a class of elements that live inside one fused stage; transforms have to name it as the type of their output."""
    registry.register_coder(element, InPlaceCoder)
    return element


class KnownDoFn(beam.DoFn):
    """A DoFn whose methods Beam looks at once, by the hook that it has for that: `_inspect_` and the method's name.

    Where Beam looks for state it goes through `dir`, which therefore leaves out what every DoFn inherits.
    """

    _own_names: ClassVar[list[str]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if isfunction(function := getattr(cls, name)):
                setattr(cls, f"_inspect_{name}", partial(_arguments, function))
        own = (vars(each) for each in cls.__mro__ if each not in beam.DoFn.__mro__)
        cls._own_names = sorted({name for names in own for name in names if not name.startswith("__")})

    def __dir__(self) -> list[str]:
        """Names of what the class adds to or replaces of `DoFn`, and of what the instance has."""
        return [*self._own_names, *vars(self)]


def _arguments(function: Any) -> tuple[list[str], list[Any]]:
    names, defaults = _looked_at(function)
    return list(names), list(defaults)


@cache
def _looked_at(function: Any) -> tuple[list[str], list[Any]]:
    found: tuple[list[str], list[Any]] = get_function_args_defaults(MethodType(function, function))
    return found
