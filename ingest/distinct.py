"""Distinct values of many parts of a column at once: the dictionary of each part, and where each row finds its value in it.

In: values of one or two words each, and the bounds of parts. Out: codes by part, in the order in which values come first. Hashing
is a multiplication and one look at a table some times as long as the column. Rows that find another value there than their own look
again, by other multipliers, and in the end are sorted: nothing is taken for what it is not, and no values can make it slow. Refuses
to know what values are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Words = NDArray[np.uint64]
Rows = NDArray[np.int32]
Bools = NDArray[np.bool_]
_SLOTS: Final = 8
"""Slots of the table for each row."""
_HALF: Final = np.uint64(32)
MULTIPLIERS: Final = (
    (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F),
    (0xD6E8FEB86659FD93, 0xA0761D6478BD642F),
    (0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3),
)
"""Of each look, for the first and the second word."""


class Distinct(NamedTuple):
    """`codes` of the rows within their part, the `rows` that have a distinct value first, and where those of each part start."""

    codes: Rows
    rows: Longs
    starts: Longs


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of a column, each from one of the `bounds` to the next, and for each row the slots of its part: the first, how many."""

    bounds: Longs
    slot: Longs
    slots: Words


def make_parts(bounds: Longs) -> Parts:
    """Parts of a column that starts at the first of the bounds, which is 0, and ends at the last."""
    counts = np.diff(bounds)
    return Parts(bounds, np.repeat(bounds[:-1] * _SLOTS, counts), np.repeat(counts * _SLOTS, counts).astype(np.uint64))


def distinct(parts: Parts, words: Sequence[Words]) -> Distinct:
    """The distinct values of each part."""
    rows = np.arange(len(parts.slot), dtype=np.int32)
    first = _first_rows(parts, words, rows)
    firsts = np.flatnonzero(first == rows)
    starts = np.searchsorted(firsts, parts.bounds)
    number = np.empty(len(rows), np.int32)
    number[firsts] = np.arange(len(firsts), dtype=np.int32)
    codes = number.take(first)
    codes -= np.repeat(starts[:-1].astype(np.int32), np.diff(parts.bounds))
    return Distinct(codes, firsts, starts)


def _first_rows(parts: Parts, words: Sequence[Words], rows: Rows) -> Rows:
    """For each row the first one of its part that has the same value."""
    table = np.empty(len(rows) * _SLOTS, np.int32)
    first, wrong = _look_up(table, rows, words, words, _slots_of(words, MULTIPLIERS[0], parts.slots, parts.slot))
    left = np.flatnonzero(wrong)
    for multipliers in MULTIPLIERS[1:]:
        some = [word[left] for word in words]
        first[left], wrong = _look_up(
            table, rows[left], words, some, _slots_of(some, multipliers, parts.slots[left], parts.slot[left])
        )
        left = left[wrong]
    if len(left):
        first[left] = _sorted_first(parts, words, left)
    return first


def _look_up(table: Rows, rows: Rows, words: Sequence[Words], some: Sequence[Words], at: Longs) -> tuple[Rows, Bools]:
    """The first of these rows in the slot of each, and whether it has another value; `some` are their own words."""
    table[at[::-1]] = rows[::-1]  # of several the last one written stays, which is the first row
    found = table.take(at)
    wrong = words[0].take(found) != some[0]
    for word, own in zip(words[1:], some[1:], strict=True):
        wrong |= word.take(found) != own
    return found, wrong


def _slots_of(words: Sequence[Words], multipliers: Sequence[int], slots: Words, slot: Longs) -> Longs:
    """The slot of each row: the upper half of the hash, brought into the range of its part."""
    mixed: Words = words[0] * np.uint64(multipliers[0])
    for word, multiplier in zip(words[1:], multipliers[1:], strict=False):
        mixed += word * np.uint64(multiplier)
    mixed >>= _HALF
    mixed *= slots
    mixed >>= _HALF
    return mixed.view(np.int64) + slot


def _sorted_first(parts: Parts, words: Sequence[Words], left: Longs) -> Longs:
    """The same for rows that are `left`, which are in order."""
    keys = [*(word[left] for word in words), parts.slot[left]]
    order = np.lexsort(keys)
    changes = np.zeros(len(left) - 1, bool)
    for key in keys:
        changes |= key[order[1:]] != key[order[:-1]]
    starts = np.flatnonzero(np.append(True, changes))
    first = np.empty(len(left), np.int64)
    first[order] = np.repeat(left[order[starts]], np.diff(starts, append=len(left)))
    return first
