"""Rules that can never name a flow, because better rules take everything that they fit.

In: a rule book. Out: those rules, each with the rules that cover it. Exact for protocol, addresses and ports; of a filter on the
exporter only this much is known, that the same text fits the same exporters. Refuses to know flows.

What a rule fits is a box: a set of values per dimension. It is covered if taking the boxes of all better rules away leaves nothing.
Null is a value that only a rule which asks nothing of a dimension fits. So where a rule asks nothing, it is covered only by rules
that ask nothing there either, and such dimensions need not be looked at. A rule without any flow (port 65536) is covered by none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from columns.rules.model import Conditions, Group, Rule, RuleBook
from columns.rules.spans import Spans, merged

_MOST_STEPS: Final = 10_000

Box = tuple[Spans, ...]
Asked = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A rule that can never win, and the better rules that take its flows; none if it fits no flow at all."""

    group: Group
    rule: Rule
    by: tuple[Rule, ...]


@dataclass(slots=True)
class _Shelf:
    """Boxes of the rules that ask for the same dimensions and exporters, in order of rank, with room to grow."""

    rules: list[Rule] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    hulls: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2, 64)))

    def add(self, rule: Rule, box: Box) -> None:
        if not self.boxes:
            self.hulls = np.empty((len(box), 2, 64))
        if len(self.boxes) == self.hulls.shape[2]:
            self.hulls = np.concatenate([self.hulls, np.empty_like(self.hulls)], axis=2)
        self.hulls[:, :, len(self.boxes)] = _hull(box)
        self.rules.append(rule)
        self.boxes.append(box)

    def near(self, places: Sequence[int], box: Box) -> NDArray[np.int64]:
        """Boxes that may overlap `box` seen in the dimensions `places` of it."""
        overlap = np.ones(len(self.boxes), np.bool_)
        for (first, last), (wanted_first, wanted_last) in zip(self.hulls, _hull(box)[list(places)], strict=True):
            overlap &= first[: len(overlap)] <= wanted_last
            overlap &= last[: len(overlap)] >= wanted_first
        return np.flatnonzero(overlap)


def shadowed(book: RuleBook) -> Iterator[Shadowed]:
    """Every enabled rule that can never win, in the order in which they are asked."""
    shelves: dict[tuple[Asked, str], _Shelf] = {}
    for group, rule in book.ranked():
        directions = [(_asked(conditions), _box(conditions)) for conditions in rule.directions()]
        covers = [_covering(shelves, rule.text.exporter_filter, asked, box) for asked, box in directions]
        if all(cover is not None for cover in covers):
            found = dict.fromkeys(each for cover in covers for each in cover or ())
            yield Shadowed(group, rule, tuple(found))
        for asked, box in directions:
            if all(box):
                shelves.setdefault((asked, rule.text.exporter_filter), _Shelf()).add(rule, box)


def _covering(shelves: dict[tuple[Asked, str], _Shelf], exporter: str, asked: Asked, box: Box) -> list[Rule] | None:
    """Rules that cover the box together, None if they do not."""
    if not all(box):
        return []
    candidates: list[tuple[Rule, Box]] = []
    for (theirs, filtered), shelf in shelves.items():
        if set(theirs) <= set(asked) and filtered in ("", exporter):
            places = [asked.index(dimension) for dimension in theirs]
            for near in shelf.near(places, box).tolist():
                candidates.append((shelf.rules[near], _widened(box, places, shelf.boxes[near])))
    used = _cover(box, [candidate for _, candidate in candidates])
    return None if used is None else [candidates[number][0] for number in used]


def _cover(box: Box, boxes: Sequence[Box]) -> list[int] | None:
    """Which of the boxes it takes to cover `box`, None if they do not, or if that cannot be told in 10,000 steps."""
    used: set[int] = set()
    left, steps = [(box, 0)], 0
    while left:
        rest, number = left.pop()
        steps += 1
        while number < len(boxes) and not all(map(_both, rest, boxes[number])):
            number += 1
        if number == len(boxes) or steps > _MOST_STEPS:
            return None
        used.add(number)
        left += [(part, number + 1) for part in _outside(rest, boxes[number])]
    return sorted(used)


def _outside(box: Box, taken: Box) -> Iterator[Box]:
    """Disjoint boxes that make up `box` without `taken`."""
    for dimension, values in enumerate(taken):
        if outside := _without(box[dimension], values):
            yield (*box[:dimension], outside, *box[dimension + 1 :])
        box = (*box[:dimension], _both(box[dimension], values), *box[dimension + 1 :])


def _widened(box: Box, places: Sequence[int], narrow: Box) -> Box:
    """A box of fewer dimensions seen in those of `box`: what it does not ask for it takes whole."""
    wide = list(box)
    for place, values in zip(places, narrow, strict=True):
        wide[place] = values
    return tuple(wide)


def _both(left: Spans, right: Spans) -> Spans:
    found, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            found.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def _without(left: Spans, right: Spans) -> Spans:
    ends = [0, *(edge for first, last in right for edge in (first - 1, last + 1)), 1 << 129]
    return _both(left, tuple((a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a <= b))


def _dimensions(conditions: Conditions) -> Sequence[Spans | None]:
    protocols = None if conditions.protocols is None else merged((each, each) for each in conditions.protocols)
    return (protocols, conditions.src_ports, conditions.dst_ports, conditions.src_addresses, conditions.dst_addresses)


def _asked(conditions: Conditions) -> Asked:
    return tuple(dimension for dimension, values in enumerate(_dimensions(conditions)) if values is not None)


def _box(conditions: Conditions) -> Box:
    return tuple(values for values in _dimensions(conditions) if values is not None)


def _hull(box: Box) -> NDArray[np.float64]:
    """First and last value of each dimension. Rounding keeps the order, so no overlap of addresses is missed."""
    return np.array([(float(values[0][0]), float(values[-1][1])) for values in box]).reshape(len(box), 2)
