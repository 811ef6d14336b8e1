"""Pruning: no group keeps more items than its cap, and its floor says what may be gone.

In: a level state. Out: one with bounded tables (docs/explanation/numbers.md, section 8). Groups by DSCP share one budget per
interface; each keeps its top K whatever the others need, so that no slot of a document that was written is ever left without one.
"""

from dataclasses import replace

import numpy as np

from columns.arrays import saturating_add
from columns.order import beyond
from columns.state import BY_DSCP, DSCP_BITS, RANKED, Level, LevelState, Sum


def prune(level: Level, state: LevelState, candidates: int, top_k: int) -> LevelState:
    """At most `candidates` items per group and kind (by DSCP: per interface and kind, beside the `top_k` of each group)."""
    floors, tables = state.groups.floors.copy(), list(state.tables)
    for kind in range(len(RANKED)):
        table = tables[kind]
        value = saturating_add(table.sums[Sum.BYTES_IN], table.sums[Sum.BYTES_OUT])
        if level == BY_DSCP:
            dropped = beyond(table.group >> DSCP_BITS, value, candidates) & beyond(table.group, value, top_k)
        else:
            dropped = beyond(table.group, value, candidates)
        if dropped.any():
            # A floor of 0 says that nothing is gone, so what had no octets leaves a floor of 1.
            largest = np.maximum(saturating_add(value[dropped], table.error[dropped]), 1)
            np.maximum.at(floors[kind], np.searchsorted(state.groups.code, table.group[dropped]), largest)
            tables[kind] = table.take(~dropped)
    return LevelState(replace(state.groups, floors=floors), tuple(tables))
