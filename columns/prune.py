"""Pruning: no group keeps more items than its cap, and its floor says what may be gone.

In: a level state. Out: one with bounded tables (docs/explanation/numbers.md, section 8). Groups by DSCP share one budget per
interface; each keeps its top K whatever the others need, so that no slot of a document that was written is ever left without one.
"""

from dataclasses import dataclass, replace

import numpy as np

from columns.arrays import Ints, Mask, by_code, saturating_add
from columns.limits import Limits
from columns.names import Names
from columns.order import beyond
from columns.state import BY_DSCP, DSCP_BITS, Level, LevelState, Sum, places_of


@dataclass(frozen=True, slots=True)
class Caps:
    """Items kept per group (by DSCP: per interface and kind, beside the `top_k` of each group)."""

    candidates: int
    top_k: int

    @staticmethod
    def of(limits: Limits, young: bool, level: Level, names: Names) -> "Caps":
        """The caps of a level's tables before or from the first mark on; `names` tell how many groups share them."""
        groups = places_of(level.scope, names)
        return Caps(limits.candidates(young, groups), limits.top_k)


def prune(level: Level, state: LevelState, caps: Caps) -> LevelState:
    """The state with no more items than the caps allow."""
    floors, tables = state.groups.floors.copy(), list(state.tables)
    for kind in range(len(tables)):
        table = tables[kind]
        value = saturating_add(table.sums[Sum.BYTES_IN], table.sums[Sum.BYTES_OUT])
        gone = excess(level, table.group, value, caps)
        if gone.any():
            raise_floor(state.groups.code, floors[kind], table.group[gone], saturating_add(value[gone], table.error[gone]))
            tables[kind] = table.take(~gone)
    return LevelState(replace(state.groups, floors=floors), tuple(tables))


def excess(level: Level, group: Ints, value: Ints, caps: Caps) -> Mask:
    """Which items of a level, each (group, item) once, are more than the caps allow."""
    if level == BY_DSCP:
        return beyond(group >> DSCP_BITS, value, caps.candidates) & beyond(group, value, caps.top_k)
    return beyond(group, value, caps.candidates)


def raise_floor(code: Ints, floor: Ints, group: Ints, bound: Ints) -> None:
    """Raise the floors of groups with these codes in place: items of `group` are gone that may have had `bound` octets."""
    # A floor of 0 says that nothing is gone, so what had no octets leaves a floor of 1.
    np.maximum.at(floor, by_code(code, np.arange(len(code)), group), np.maximum(bound, 1))
