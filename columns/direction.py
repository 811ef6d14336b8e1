"""The direction of flows that do not say it, by the sides of their interfaces.

In: the column `direction` of a batch, and the columns in_if_side and out_if_side. Out: `direction` with what was unknown filled in
for exporters that observe at their external interfaces. Refuses to know the inventory.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns.dictionaries import integers, places
from flowpb.schema import BY_NAME, Direction

_EXTERNAL: Final = "external"


def repaired_direction(flows: pa.RecordBatch, sides: Mapping[str, pa.Array]) -> pa.Array:
    """`direction`: as exported, else ingress where the input interface alone is external, egress where the output alone is."""
    direction = integers(flows, "direction", Direction.UNKNOWN)
    came_in, went_out = (_is_external(sides.get(f"{name}_side"), flows.num_rows) for name in ("in_if", "out_if"))
    found = np.where(came_in, Direction.INGRESS, Direction.EGRESS)
    repaired = np.where((direction == Direction.UNKNOWN) & (came_in != went_out), found, direction)
    unknown = repaired == Direction.UNKNOWN
    return pa.array(repaired.astype(np.uint8), BY_NAME["direction"].type, mask=unknown if unknown.any() else None)


def _is_external(column: pa.Array | None, rows: int) -> NDArray[np.bool_]:
    if column is None:
        return np.zeros(rows, np.bool_)
    of_text = pc.fill_null(pc.equal(column.dictionary, _EXTERNAL), False).to_numpy(zero_copy_only=False)
    is_external: NDArray[np.bool_] = np.append(of_text, False)[places(column)]
    return is_external
