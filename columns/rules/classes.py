"""Equivalence classes: values of one dimension of a flow that no condition tells apart.

In: for each condition of a dimension the values that it accepts, None for all. Out: a class per value, and per class the set of
conditions that accept it. There are at most two classes per span, whatever the size of the dimension. Refuses to know what the
dimension is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from columns.rules.spans import Spans

Signature = int
"""A set of conditions: bit n is condition n."""


@dataclass(slots=True)
class Classes:
    """Signatures seen so far, each with its number."""

    numbers: dict[Signature, int] = field(default_factory=dict)

    def number(self, signature: Signature) -> int:
        """The class with this signature, a new one if there is none yet."""
        return self.numbers.setdefault(signature, len(self.numbers))

    def __len__(self) -> int:
        return len(self.numbers)

    def bits(self, conditions: int) -> NDArray[np.uint64]:
        """Signatures as rows of 64-bit words, least condition first."""
        words = max(1, -(-conditions // 64))
        packed = b"".join(signature.to_bytes(words * 8, "little") for signature in self.numbers)
        return np.frombuffer(packed, "<u8").astype(np.uint64).reshape(len(self), words)


@dataclass(frozen=True, slots=True)
class Intervals:
    """A dimension cut into intervals: their starts (the first is 0) and classes, and the class of null."""

    starts: list[int]
    classes: list[int]
    null_class: int


def unconditional(accepted: Sequence[object | None]) -> Signature:
    """The conditions that ask nothing: those that null satisfies."""
    return sum(1 << bit for bit, values in enumerate(accepted) if values is None)


def cut(accepted: Sequence[Spans | None], last: int, classes: Classes) -> Intervals:
    """Intervals of 0 .. last that the conditions tell apart; new signatures are added to `classes`."""
    toggles: dict[int, Signature] = {0: 0}
    for bit, spans in enumerate(accepted):
        for first, end in spans or ():
            toggles[first] = toggles.get(first, 0) ^ 1 << bit
            toggles[end + 1] = toggles.get(end + 1, 0) ^ 1 << bit
    toggles.pop(last + 1, None)
    always = signature = unconditional(accepted)
    starts, numbers = [], []
    for start in sorted(toggles):
        signature ^= toggles[start]
        starts.append(start)
        numbers.append(classes.number(signature))
    return Intervals(starts, numbers, classes.number(always))
