"""Two level states to one, with the errors carried: docs/explanation/numbers.md, section 8.

In: two states under common names. Out: one; associative and commutative as long as nothing was pruned. Refuses to know where the
states come from: rows of this minute, or other windows of a longer one.
"""

import numpy as np

from columns.arrays import Ints, Mask, by_code, saturating_add
from columns.state import Groups, LevelState, Table


def merge(left: LevelState, right: LevelState, group_bits: int) -> LevelState:
    """The sum of both, which rank the same kinds; group codes are below 2^group_bits, and item codes fit above them."""
    tables = (
        _merge_tables(
            left.tables[kind],
            right.tables[kind],
            _floors_of(right.tables[kind].group, left.groups, kind),
            _floors_of(left.tables[kind].group, right.groups, kind),
            group_bits,
        )
        for kind in range(len(left.tables))
    )
    return LevelState(_merge_groups(left.groups, right.groups), tuple(tables))


def _merge_groups(left: Groups, right: Groups) -> Groups:
    code = np.union1d(left.code, right.code)
    merged = Groups(
        code,
        np.zeros((len(left.sums), len(code)), np.int64),
        np.zeros(len(code), np.uint8),
        np.zeros(len(code), np.int64),
        np.zeros(len(code), np.int64),
        np.zeros(len(code), np.int64),
        np.zeros((len(left.floors), len(code)), np.int64),
    )
    for groups in (left, right):
        at = np.searchsorted(code, groups.code)
        merged.sums[:, at] = saturating_add(merged.sums[:, at], groups.sums)
        merged.flags[at] |= groups.flags
        merged.rows[at] += groups.rows
        merged.rows_in[at] += groups.rows_in
        merged.emitted_rows[at] += groups.emitted_rows
        merged.floors[:, at] = saturating_add(merged.floors[:, at], groups.floors)
    return merged


def _floors_of(group: Ints, groups: Groups, kind: int) -> Ints:
    """The floor that the other side's groups have for each row: what it may have lost of an item that it does not have."""
    return by_code(groups.code, groups.floors[kind], group)


def _merge_tables(left: Table, right: Table, left_floors: Ints, right_floors: Ints, group_bits: int) -> Table:
    """`left_floors` are those of the left groups for the rows of the right table, and the other way round."""
    if not len(right.group):
        return left
    right_keys = right.item << group_bits | right.group
    if (right_keys[1:] < right_keys[:-1]).any():
        order = np.argsort(right_keys)
        right, right_keys, left_floors = right.take(order), right_keys[order], left_floors[order]
    left_keys = left.item << group_bits | left.group
    at = np.minimum(np.searchsorted(right_keys, left_keys), len(right_keys) - 1)
    both: Mask = right_keys[at] == left_keys
    at = at[both]
    common = left.take(both)
    sums, flags, error = right.sums.copy(), right.flags.copy(), saturating_add(right.error, left_floors)
    sums[:, at] = saturating_add(sums[:, at], common.sums)
    flags[at] |= common.flags
    error[at] = saturating_add(right.error[at], common.error)
    alone = left.take(~both)
    return Table(
        np.concatenate([right.group, alone.group]),
        np.concatenate([right.item, alone.item]),
        np.concatenate([sums, alone.sums], axis=1),
        np.concatenate([flags, alone.flags]),
        np.concatenate([error, saturating_add(alone.error, right_floors[~both])]),
    )
