"""Sums by the finest key into the groups and tables of one level.

In: the sums of a chunk of rows, and the level as it was. Out: the level with the rows in it, pruned. Most items of a busy group
would be pruned as soon as they are merged; they are left out before, by their octets alone, so that the other measures are only
summed for items that may stay. Refuses to know names and text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints, Octets, by_code, run_ends, saturating_add
from columns.merge import merge
from columns.part import IN, MIRROR, SIDE_BITS
from columns.prune import Caps, excess, prune, raise_floor
from columns.state import CONGESTION_ENCOUNTERED, NON_ECT, Groups, Level, LevelState, Table, empty_table
from columns.sums import sum_runs
from columns.tabulate import COUNT_BITS, OCTETS, TALLY, Shape, Sums, Tabulated
from flowpb.groupings import Scope

_SIDE: Final = (1 << SIDE_BITS) - 1
_COUNT: Final = (1 << COUNT_BITS) - 1


@dataclass(frozen=True, slots=True)
class _Entries:
    """Sums with the key of the level (item above group) for each; equal keys are neighbours."""

    keys: Ints
    sums: Sums

    def take(self, rows: Ints) -> "_Entries":
        return _Entries(self.keys[rows], Sums(self.sums.keys[rows], np.take(self.sums.measures, rows, axis=1)))


def absorb_level(level: Level, old: LevelState, chunk: Tabulated, group_bits: int, caps: Caps, kept: Sequence[bool]) -> LevelState:
    """The level with the chunk merged in and pruned; group codes are below 2^group_bits, `kept` are the kinds it ranks."""
    groups = _groups(_entries(level, chunk.totals, chunk.shape, group_bits), len(chunk.tables))
    floors = np.zeros((len(chunk.tables), len(groups.code)), np.int64)
    tables = []
    for kind, sums in enumerate(chunk.tables):
        if not kept[kind]:
            tables.append(empty_table(len(groups.sums)))
            continue
        entries = _entries(level, sums, chunk.shape, group_bits)
        thinned = _thin(level, entries, old, kind, group_bits, caps, (groups.code, floors[kind]))
        tables.append(_table(thinned, group_bits))
    merged = merge(old, LevelState(groups, tuple(tables)), group_bits)
    at = np.searchsorted(merged.groups.code, groups.code)
    merged.groups.floors[:, at] = np.maximum(merged.groups.floors[:, at], floors)
    return prune(level, merged, caps)


def _entries(level: Level, sums: Sums, shape: Shape, group_bits: int) -> _Entries:
    """The sums that count at the level, with its keys."""
    if level.scope is Scope.EXPORTER:
        counting = np.flatnonzero((sums.keys & _SIDE) != MIRROR)
        if len(counting) < len(sums.keys):
            sums = Sums(sums.keys[counting], np.take(sums.measures, counting, axis=1))
    if level == shape.finest:
        return _Entries(sums.keys >> SIDE_BITS, sums)
    item, place = sums.keys >> shape.bits, sums.keys & ((1 << shape.bits) - 1)
    keys: Ints = item << group_bits | shape.group_of(level, place)
    return _Entries(keys, sums)


def _thin(
    level: Level, entries: _Entries, old: LevelState, kind: int, group_bits: int, caps: Caps, floors: tuple[Ints, Ints]
) -> _Entries:
    """Without items that were not there before and are beyond the caps already among the new ones.

    `floors` (codes of groups, a floor for each) is raised by what may be gone with them.
    """
    ends = run_ends(entries.keys)
    keys = entries.keys[ends]
    group = keys & ((1 << group_bits) - 1)
    value = sum_runs(entries.sums.measures[OCTETS : OCTETS + 1], ends)[0]
    gone = excess(level, group, value, caps)
    if not gone.any():
        return entries
    known = old.tables[kind].item << group_bits | old.tables[kind].group
    at = np.minimum(np.searchsorted(keys, known), len(keys) - 1)
    gone[at[keys[at] == known]] = False
    before = by_code(old.groups.code, old.groups.floors[kind], group[gone])
    raise_floor(*floors, group[gone], saturating_add(value[gone], before))
    return entries.take(np.flatnonzero(np.repeat(~gone, np.diff(ends, prepend=-1))))


def _groups(totals: _Entries, kinds: int) -> Groups:
    code, (inward, outward) = _by_side(totals)
    rows_in, rows_out = inward[-1], outward[-1]
    sums, flags = _finish(inward[:-1], outward[:-1])
    return Groups(code, sums, flags, rows_in + rows_out, rows_in, np.zeros_like(code), np.zeros((kinds, len(code)), np.int64))


def _table(entries: _Entries, group_bits: int) -> Table:
    keys, (inward, outward) = _by_side(entries)
    sums, flags = _finish(inward, outward)
    return Table(keys & ((1 << group_bits) - 1), keys >> group_bits, sums, flags, np.zeros_like(keys))


def _by_side(entries: _Entries) -> tuple[Ints, Sequence[Ints]]:
    """Distinct keys in order, and the measures (measures, keys) of the in-side and of the out-side."""
    ends = run_ends(entries.keys)
    keys = entries.keys[ends]
    sides = []
    inward = (entries.sums.keys & _SIDE) == IN
    for rows in (np.flatnonzero(inward), np.flatnonzero(~inward)):
        of_side = entries.take(rows)
        last = run_ends(of_side.keys)
        sums = np.zeros((len(entries.sums.measures), len(keys)), np.int64)
        sums[:, np.searchsorted(keys, of_side.keys[last])] = sum_runs(of_side.sums.measures, last)
        sides.append(sums)
    return keys, sides


def _finish(inward: Ints, outward: Ints) -> tuple[Ints, Octets]:
    """Sums in the order of `state.Sum`, and flags; the tallies are taken apart."""
    tally = inward[TALLY] + outward[TALLY]
    congested = (tally >> COUNT_BITS & _COUNT > 0) * np.uint8(CONGESTION_ENCOUNTERED)
    flags = congested | (tally >> 2 * COUNT_BITS > 0) * np.uint8(NON_ECT)
    sums = np.stack([inward, outward], axis=1).reshape(2 * len(inward), len(tally))
    sums[2 * TALLY : 2 * TALLY + 2] &= _COUNT
    return sums, flags
