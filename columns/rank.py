"""Ranking: from groups and tables to the rows of documents, slot by slot.

In: a level state and which of its groups are wanted. Out: per grouping the ranked items, what is left over as Other, and the
totals, in the order of group and slot (docs/explanation/numbers.md, sections 5 to 7). Refuses to know names and text.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from columns.arrays import Ints, Mask, Octets, by_code, run_ends, saturating_add
from columns.order import contenders
from columns.state import PLAIN, SAMPLED, Groups, Level, LevelState, Sum
from columns.sums import sum_runs
from flowpb.groupings import Scope

COUNTERS: Final = (
    *(f"{measure}_{side}" for measure in ("bytes", "packets", "flows") for side in ("ingress", "egress", "total")),
    "bytes_unscaled",
    "packets_unscaled",
)
"""Rows of `Ranking.counters`, by their names in AGGREGATE."""
_BYTES_TOTAL: Final = COUNTERS.index("bytes_total")


class Entry(IntEnum):
    """Values of `aggregation_type`, by position in their names."""

    TOTAL = 0
    TOPK = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of documents of one grouping. `group` is a position in the level's groups, `item` a code, -1 for none."""

    group: Ints
    slot: Ints
    entry: Ints
    item: Ints
    counters: Ints
    flags: Octets
    error: Ints
    floor: Ints


def rank_totals(level: Level, groups: Groups, wanted: Mask, error: Ints | None = None) -> Ranking:
    """The TOTAL documents of the wanted groups, exact unless `error` (by group) says otherwise."""
    group = np.flatnonzero(wanted)
    none = np.zeros(len(group), np.int64)
    counters = _counters(level, np.take(groups.sums, group, axis=1), groups.rows_in[group] > 0)
    return Ranking(
        group, none, none + Entry.TOTAL, none - 1, counters, groups.flags[group], none if error is None else error[group], none
    )


def rank_items(level: Level, state: LevelState, kind: int, ties: Ints, wanted: Mask, top_k: int, multiplicity: int) -> Ranking:
    """The TOPK and OTHER documents of one kind; `ties` (keys, items): what decides between equal values, first key first."""
    groups, table = state.groups, state.tables[kind]
    position = by_code(groups.code, np.arange(len(groups.code)), table.group)
    rows = np.flatnonzero(wanted[position])
    group, table, ties = position[rows], table.take(rows), np.take(ties, rows, axis=1)
    counters = _counters(level, table.sums, groups.rows_in[group] > 0)
    chosen, slot = _top(group, counters[_BYTES_TOTAL], ties, top_k)
    table, counters = table.take(chosen), np.take(counters, chosen, axis=1)
    ranked_group = group[chosen]
    floor = groups.floors[kind]
    rest = np.flatnonzero(wanted & ((np.bincount(group, minlength=len(wanted)) > top_k) | (floor > 0)))
    other = _other(level, groups, rest, multiplicity, ranked_group, counters)
    none = np.zeros(len(rest), np.int64)
    all_groups = np.concatenate([ranked_group, rest])
    all_slots = np.concatenate([slot, none + top_k])
    order = np.lexsort((all_slots, all_groups))
    return Ranking(
        all_groups[order],
        all_slots[order],
        np.repeat([int(Entry.TOPK), int(Entry.OTHER)], [len(slot), len(rest)])[order],
        np.concatenate([table.item, none - 1])[order],
        np.take(np.concatenate([counters, other], axis=1), order, axis=1),
        np.concatenate([table.flags, groups.flags[rest]])[order],
        np.concatenate([table.error, none])[order],
        floor[all_groups[order]],
    )


def _counters(level: Level, sums: Ints, has_in: Mask) -> Ints:
    """The counters in the order of COUNTERS; `has_in`: the group's in-side has a row."""
    unscaled = sums[PLAIN:SAMPLED] if len(sums) > PLAIN else sums[: Sum.FLOWS_IN]
    sides = np.concatenate([sums[:PLAIN], unscaled])
    total = saturating_add(sides[::2], _counted(level, sums, sides[1::2], has_in))
    rows = []
    for place in range(PLAIN // 2):
        rows += [sides[2 * place], sides[2 * place + 1], total[place]]
    return np.stack([*rows, *total[PLAIN // 2 :]])


def _counted(level: Level, sums: Ints, outward: Ints, has_in: Mask) -> Ints:
    """What counts of the out-side: an exporter that reports its in-traffic in a minute has reported its out-traffic with it."""
    if level.scope is not Scope.EXPORTER:
        return outward
    return sums[SAMPLED:] if len(sums) > SAMPLED else np.where(has_in, 0, outward)


def _top(group: Ints, value: Ints, ties: Ints, top_k: int) -> tuple[Ints, Ints]:
    """Rows of the `top_k` largest values of each group, in order of group and rank; and their ranks."""
    rows = contenders(group, value, top_k)
    order = rows[np.lexsort((*np.take(ties, rows, axis=1)[::-1], -value[rows], group[rows]))]
    ends = run_ends(group[order])
    lengths = np.diff(ends, prepend=-1)
    rank = np.arange(len(order)) - np.repeat(ends + 1 - lengths, lengths)
    return order[rank < top_k], rank[rank < top_k]


def _other(level: Level, groups: Groups, rest: Ints, multiplicity: int, ranked_group: Ints, ranked: Ints) -> Ints:
    """What the ranked items leave of the groups in `rest`."""
    totals = _counters(level, np.take(groups.sums, rest, axis=1), groups.rows_in[rest] > 0)
    whole = totals
    for _ in range(1, multiplicity):
        whole = saturating_add(whole, totals)
    ends = run_ends(ranked_group)
    listed = np.take(sum_runs(ranked, ends), np.searchsorted(ranked_group[ends], rest), axis=1)
    left: Ints = np.maximum(whole - listed, 0)
    return left
