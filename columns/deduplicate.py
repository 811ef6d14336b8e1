"""Conversations that several exporters of a location report, counted once: by the exporter that has most of each.

In: exporters with what counts of them, and their conversations. Out: one row per conversation and location; and location and system
scope made of such rows alone (docs/explanation/numbers.md, section 15). What the exporters' tables do not list may be new or seen
before: it is in no sum, and all of it is the error of everything at that location. Refuses to know lanes and marks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from columns.arrays import Ints, by_code, run_ends, saturating_add
from columns.names import Names, ValueNames
from columns.prune import Caps, excess
from columns.state import BY_LOCATION, CONVERSATIONS, KEY_BITS, ConversationCodes, Groups, LevelState, Sum, Table, empty_table
from columns.sums import sum_with_flags
from flowpb.groupings import PROTOCOL, Values


def rankable(values: tuple[Values, ...]) -> tuple[Values, ...]:
    """The kinds that conversations tell."""
    return tuple(kind for kind in values if kind.columns == PROTOCOL.columns)


def largest(table: Table) -> Table:
    """Of each conversation the row with the most octets, ties by its other sums; flags are those of all of them."""
    if not len(table.item):
        return table
    order = np.lexsort((*table.sums[::-1], table.sums[Sum.BYTES_IN] + table.sums[Sum.BYTES_OUT], table.item))
    ends = run_ends(table.item[order])
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    return replace(table.take(order[ends]), flags=np.bitwise_or.reduceat(table.flags[order], starts))


def joined(tables: Sequence[Table]) -> Table:
    """The rows of all tables, which have the same sums or plain ones."""
    width = max(len(table.sums) for table in tables)
    sums = [
        table.sums if len(table.sums) == width else np.concatenate([table.sums, table.sums[: Sum.FLOWS_IN]]) for table in tables
    ]
    return Table(
        np.concatenate([table.group for table in tables]),
        np.concatenate([table.item for table in tables]),
        np.concatenate(sums, axis=1),
        np.concatenate([table.flags for table in tables]),
        np.concatenate([table.error for table in tables]),
    )


def location_state(exporters: LevelState, location: Ints, groups: Groups, caps: Caps) -> LevelState:
    """Conversations of the locations; the floor of their table is what was not listed. `location` by exporter code."""
    listed = exporters.tables[CONVERSATIONS]
    of_exporters = exporters.groups
    left = _octets(of_exporters.sums) - _added(of_exporters.code, listed.group, _octets(listed.sums))
    unknown = np.maximum(left, of_exporters.floors[CONVERSATIONS] > 0)
    winners = largest(replace(listed, group=location[listed.group], error=np.zeros_like(listed.error)))
    gone = excess(BY_LOCATION, winners.group, _octets(winners.sums), caps)
    floors = np.zeros_like(groups.floors)
    floors[CONVERSATIONS] = _added(groups.code, location[of_exporters.code], unknown)
    floors[CONVERSATIONS] += _added(groups.code, winners.group[gone], np.maximum(_octets(winners.sums)[gone], 1))
    tables = [empty_table(len(groups.sums)) for _ in exporters.tables]
    tables[CONVERSATIONS] = winners.take(~gone)
    return LevelState(replace(groups, floors=floors), tuple(tables))


def with_protocols(names: Names, kinds: tuple[Values, ...]) -> Names:
    """Names that have the protocols of all services as values of these kinds."""
    protocols = np.unique(names.services[:, 2])
    return replace(names, values=tuple(ValueNames(kind.key, 1, protocols[protocols > 0] - 1) for kind in kinds))


def derived(level: LevelState, group: Ints, names: Names, conversations: ConversationCodes, bits: int) -> LevelState:
    """All tables from the conversations, of which `group` (codes below 2^bits) are the groups; totals are their sums."""
    rows = level.tables[CONVERSATIONS]
    service, lower, upper = conversations.decode(rows.item)
    protocol = names.services[service, 2]
    codes = [np.searchsorted(kind.values, protocol - 1) + 1 for kind in names.values]
    values = [(np.where(protocol > 0, code, 0),) for code in codes]
    members = [(names.services[service, 1],), (lower, upper), (rows.item,), *values]
    floors = np.stack([_times(level.groups.floors[CONVERSATIONS], len(each)) for each in members])
    totals = _table(rows, (np.zeros_like(group),), group, bits)
    sums = np.zeros((len(rows.sums), len(level.groups.code)), np.int64)
    sums[:, np.searchsorted(level.groups.code, totals.group)] = totals.sums
    groups = replace(level.groups, sums=sums, floors=floors)
    tables = (_table(rows, each, group, bits) for each in members)
    return LevelState(
        groups,
        tuple(replace(table, error=by_code(groups.code, floor, table.group)) for table, floor in zip(tables, floors, strict=True)),
    )


def _table(rows: Table, items: tuple[Ints, ...], group: Ints, bits: int) -> Table:
    keys = np.concatenate(items) << bits | np.tile(group, len(items))
    keys, (sums, flags) = sum_with_flags(keys, KEY_BITS, np.tile(rows.sums, len(items)), np.tile(rows.flags, len(items)))
    return Table(keys & ((1 << bits) - 1), keys >> bits, sums, flags, np.zeros_like(keys))


def _octets(sums: Ints) -> Ints:
    return saturating_add(sums[Sum.BYTES_IN], sums[Sum.BYTES_OUT])


def _added(code: Ints, group: Ints, value: Ints) -> Ints:
    """Sum of the values of each group."""
    sums = np.zeros(len(code), np.int64)
    np.add.at(sums, np.searchsorted(code, group), value)
    return sums


def _times(value: Ints, times: int) -> Ints:
    return value if times == 1 else saturating_add(value, value)
