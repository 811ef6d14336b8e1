"""Rows to level states: every group's totals and items from as few sorts as possible.

In: rows of parts under common names. Out: for each level exact totals and exact tables (error and floor 0). Refuses to know what
was there before, and caps.

A key is item | port | DSCP | side. Sorted by it, rows of one item are neighbours, whatever the level: cutting the key at another
place gives the next level without another sort. Hosts come from the conversations' sums, not from the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints, Octets, bits_of, run_ends, saturating_add
from columns.limits import Limits
from columns.names import Names
from columns.part import MIRROR, SIDE_BITS
from columns.state import (
    BY_DSCP,
    BY_EXPORTER,
    BY_PORT,
    CONGESTION_ENCOUNTERED,
    DSCP_BITS,
    NON_ECT,
    RANKED,
    ConversationCodes,
    Groups,
    Level,
    LevelState,
    Table,
    levels_of,
)
from columns.sums import sum_by_key, sum_runs

CHUNK: Final = 1 << 19
"""Rows that are tabulated at a time, so that the three counts of a tally fit in one integer."""

_COUNT_BITS: Final = 21
_COUNT: Final = (1 << _COUNT_BITS) - 1
_TALLY: Final = 2
"""Row of the tally in the measures: flows, rows with ECN 3, rows without ECN, packed."""
_TALLIES: Final = np.array(
    [tag >> 2 & 1 | (tag >> 3 & 1) << _COUNT_BITS | (tag >> 4 & 1) << 2 * _COUNT_BITS for tag in range(32)], np.int64
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of several parts under common names; `measures` has two rows, or four if some flow was sampled."""

    port: Ints
    service: Ints
    lower: Ints
    upper: Ints
    tag: Octets
    dscp: Octets
    measures: Ints

    def __len__(self) -> int:
        return len(self.port)

    def slice(self, start: int, stop: int) -> "Rows":
        """Rows start .. stop - 1."""
        part = slice(start, stop)
        port, service, lower, upper = (column[part] for column in (self.port, self.service, self.lower, self.upper))
        return Rows(port, service, lower, upper, self.tag[part], self.dscp[part], self.measures[:, part])


@dataclass(frozen=True, slots=True)
class _Long:
    """Sums by (item, port, DSCP, side): keys in order, measures with a tally in the middle."""

    keys: Ints
    sums: Ints


@dataclass(frozen=True, slots=True)
class _Wide:
    """Sums by (item, group), in order: each side (measures, entries); `group` is a code of the level."""

    item: Ints
    group: Ints
    inward: Ints
    outward: Ints


def tabulate(rows: Rows, names: Names, conversations: ConversationCodes, limits: Limits) -> dict[Level, LevelState]:
    """Level states of at most CHUNK rows."""
    dscp_bits = DSCP_BITS if limits.with_dscp else 0
    group_bits = bits_of(len(names.ports)) + dscp_bits
    side = (rows.tag & ((1 << SIDE_BITS) - 1)).astype(np.int64)
    place = (rows.port << dscp_bits | rows.dscp if dscp_bits else rows.port) << SIDE_BITS | side
    place_bits = group_bits + SIDE_BITS
    measures = np.concatenate([rows.measures[:2], _TALLIES[rows.tag][None], rows.measures[2:]])
    application = names.services[rows.service, 0]
    by_application = _long(application, bits_of(len(names.applications) + 1), place, place_bits, measures)
    item = conversations.encode(rows.service, rows.lower, rows.upper)
    by_conversation = _long(item, conversations.bits, place, place_bits, measures)
    by_host = _hosts(by_conversation, place_bits, names, conversations)
    counted = np.concatenate([measures, np.ones((1, len(rows)), np.int64)])
    totals = _long(np.zeros_like(place), 0, place, place_bits, counted)
    exporter = names.ports[:, 0]
    wides = [_levels(long, group_bits, dscp_bits, exporter) for long in (totals, by_application, by_host, by_conversation)]
    return {
        level: LevelState(_groups(wides[0][level]), tuple(_table(wide[level]) for wide in wides[1:])) for level in levels_of(limits)
    }


def _long(item: Ints, item_bits: int, place: Ints, place_bits: int, measures: Ints) -> _Long:
    return _Long(*sum_by_key(item << place_bits | place, item_bits + place_bits, measures))


def _hosts(long: _Long, place_bits: int, names: Names, conversations: ConversationCodes) -> _Long:
    """Each conversation counts at both of its ends, twice at one if they are equal."""
    _, lower, upper = conversations.decode(long.keys >> place_bits)
    place = long.keys & ((1 << place_bits) - 1)
    item = np.concatenate([lower, upper])
    return _long(item, bits_of(len(names.addresses) + 1), np.tile(place, 2), place_bits, np.tile(long.sums, 2))


def _levels(long: _Long, group_bits: int, dscp_bits: int, exporter_of_port: Ints) -> dict[Level, _Wide]:
    keys, (inward, egress, mirror) = _sides(long)
    item, group = keys >> group_bits, keys & ((1 << group_bits) - 1)
    finest = _Wide(item, group, inward, saturating_add(egress, mirror))
    levels = {BY_PORT: finest}
    if dscp_bits:
        levels = {BY_DSCP: finest, BY_PORT: _coarser(finest, group >> dscp_bits)}
    # What only interfaces count is not in the exporter's sums.
    levels[BY_EXPORTER] = _coarser(_Wide(item, group, inward, egress), exporter_of_port[group >> dscp_bits])
    return levels


def _sides(long: _Long) -> tuple[Ints, Sequence[Ints]]:
    """Keys without the side, and for each side its sums."""
    keys, side = long.keys >> SIDE_BITS, long.keys & ((1 << SIDE_BITS) - 1)
    ends = run_ends(keys)
    entry = np.zeros(len(keys), np.int64)
    entry[ends[:-1] + 1] = 1
    entry = np.cumsum(entry)
    sums = np.zeros((MIRROR + 1, len(long.sums), len(ends)), np.int64)
    for number, of_side in enumerate(sums):
        here = np.flatnonzero(side == number)
        of_side[:, entry[here]] = np.take(long.sums, here, axis=1)
    return keys[ends], list(sums)


def _coarser(wide: _Wide, group: Ints) -> _Wide:
    """Sums over larger groups; `group` must rise with the former one."""
    changes = run_ends(wide.item * (int(group.max(initial=0)) + 1) + group)
    return _Wide(wide.item[changes], group[changes], sum_runs(wide.inward, changes), sum_runs(wide.outward, changes))


def _table(wide: _Wide) -> Table:
    sums, flags = _finish(wide)
    return Table(wide.group, wide.item, sums, flags, np.zeros(len(flags), np.int64))


def _groups(wide: _Wide) -> Groups:
    rows_in, rows_out = wide.inward[-1], wide.outward[-1]
    sums, flags = _finish(_Wide(wide.item, wide.group, wide.inward[:-1], wide.outward[:-1]))
    none = np.zeros(len(flags), np.int64)
    floors = np.zeros((len(RANKED), len(flags)), np.int64)
    return Groups(wide.group, sums, flags, rows_in + rows_out, rows_in, none, floors)


def _finish(wide: _Wide) -> tuple[Ints, Octets]:
    """Sums in the order of `Sum`, and flags; the tallies are taken apart."""
    tally = wide.inward[_TALLY] + wide.outward[_TALLY]
    congested = (tally >> _COUNT_BITS & _COUNT > 0) * np.uint8(CONGESTION_ENCOUNTERED)
    flags = congested | (tally >> 2 * _COUNT_BITS > 0) * np.uint8(NON_ECT)
    sums = np.stack([wide.inward, wide.outward], axis=1).reshape(-1, len(tally))
    sums[2 * _TALLY : 2 * _TALLY + 2] &= _COUNT
    return sums, flags
