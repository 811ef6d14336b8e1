"""What is kept of a window when its lane is through with it: its candidate tables, of bounded size, for longer windows.

In: a base after its last mark. Out: one row of flowpb.partials. Refuses to know who keeps it and what is made of it
(columns.combine adds several up).
"""

import hashlib
from dataclasses import replace
from typing import Final

import pyarrow as pa

from columns.combine import combine
from columns.limits import Limits
from columns.state import BY_EXPORTER, State
from flowpb.documents import LEVEL_MINUTE
from flowpb.partials import partial_row

MOST_BYTES: Final = 16 << 20
"""A larger base keeps fewer candidates, with the floors that this costs; totals stay exact."""


def partial_of(
    base: bytes,
    lane: int,
    window_start_ms: int,
    limits: Limits,
    level: str = LEVEL_MINUTE,
    made_of: str = "",
    most: int = MOST_BYTES,
) -> pa.Table:
    """The partial of a lane's window; its candidates are halved until it is no larger than `most`, or down to 2 x top_k."""
    rows = rows_of(base)
    while len(base) > most and limits.candidates(False) > 2 * limits.top_k:
        limits = replace(limits, old=limits.old // 2, old_items=limits.old_items // 2)
        base = combine([base], limits)
    return partial_row(lane, window_start_ms, rows, base, level, made_of or hashlib.blake2b(base, digest_size=8).hexdigest())


def rows_of(base: bytes) -> int:
    """Shares merged into the exporters of a base; it never falls while a window grows."""
    levels = State.unpack(base).levels
    return int(levels[BY_EXPORTER].groups.rows.sum()) if BY_EXPORTER in levels else 0
