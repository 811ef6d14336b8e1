"""The shape of partials: what a lane knows of a window at its end, for longer windows to be made of.

In: nothing. Out: the Arrow schema of tables of partials. Refuses to know what is in a state
(columns.state) and where partials are kept.
"""

from typing import Final

import pyarrow as pa

from flowpb.documents import LEVEL_MINUTE
from flowpb.groupings import LEVEL_MS

PARTIAL_SCHEMA: Final = pa.schema(
    [
        pa.field("lane", pa.int16(), False),
        pa.field("window_start_ms", pa.int64(), False),
        pa.field("window_end_ms", pa.int64(), False),
        pa.field("rows", pa.int64(), False),  # shares in it: of two partials of a lane and window the one with more holds
        pa.field("made_of", pa.string(), False),  # a hash of which shorter ones it was made of; of a minute, that of its state
        pa.field("state", pa.binary(), False),  # a base (columns.state) after the last mark; empty where nothing longer is made
    ]
)


def partial_row(lane: int, window_start_ms: int, rows: int, state: bytes, level: str = LEVEL_MINUTE, made_of: str = "") -> pa.Table:
    """A table of one partial."""
    row = (lane, window_start_ms, window_start_ms + LEVEL_MS[level], rows, made_of, state)
    return pa.table([[value] for value in row], schema=PARTIAL_SCHEMA)
