"""Answers kept by key: a table of fixed size in which the newest answer of a slot replaces the older one.

In: keys of two integers. Out: the answers that are known, and which keys they are not known for. Refuses to know how an answer is
found. Not for several threads at once.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from columns.arrays import Ints, Mask

_BITS: Final = 17
_MULTIPLIERS: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


@dataclass(slots=True)
class Memo:
    """2^17 slots; a key that is not negative can be looked up, one slot per hash."""

    first: Ints = field(default_factory=lambda: np.full(1 << _BITS, -1, np.int64))
    second: Ints = field(default_factory=lambda: np.zeros(1 << _BITS, np.int64))
    answers: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1 << _BITS, np.int32))

    def get(self, first: Ints, second: Ints) -> tuple[NDArray[np.int32], Mask]:
        """Answer of each key, and where it is known."""
        slots = _slots(first, second)
        known = (self.first[slots] == first) & (self.second[slots] == second)
        return self.answers[slots], known

    def put(self, first: Ints, second: Ints, answers: NDArray[np.int32]) -> None:
        """Keep these answers. Of two keys in one slot the later one stays, whole: each array is written in the same order."""
        slots = _slots(first, second)
        self.first[slots] = first
        self.second[slots] = second
        self.answers[slots] = answers


def _slots(first: Ints, second: Ints) -> NDArray[np.uint64]:
    hashed: NDArray[np.uint64] = first.view(np.uint64) * _MULTIPLIERS[0]
    hashed += second.view(np.uint64) * _MULTIPLIERS[1]
    hashed >>= np.uint64(64 - _BITS)
    return hashed
