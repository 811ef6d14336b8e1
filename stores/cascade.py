"""What longer windows are made from and where they go: the part of a store that `nephrite rollup` works with.

In: nothing. Out: the contract, and partials as stores keep them. Refuses to know how partials are added up (pipelines/rollup.py)
and how a store keeps them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import LEVEL_MS

_SIZE: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A partial without its state: which, how many shares are in it, and a hash of what it was made of."""

    window_start_ms: int
    lane: int
    rows: int
    made_of: str


class Cascade(Protocol):
    """Partials of all levels, and the documents of the longer ones. Every method raises StoreError."""

    def final_through(self) -> int | None:
        """Every lane has given its last partials of minutes that end by then; None before the first."""

    def kept(self, level: str) -> list[Kept]:
        """The partials of a level, by window and lane."""

    def states(self, level: str, from_ms: int, to_ms: int, lane: int) -> list[bytes]:
        """States of a lane's partials whose windows start in [from_ms, to_ms), in their order."""

    def put(self, level: str, window_start_ms: int, partials: pa.Table, documents: pa.Table) -> None:
        """Keep the partials and documents of a longer window; documents of the same lanes and window that are not among them go."""

    def forget(self, level: str, before_ms: int) -> int:
        """Delete the partials of windows that start before `before_ms`; returns how many."""


def squeezed(state: bytes) -> bytes:
    """A state as it is kept: its length and a zstd frame."""
    packed: bytes = pa.compress(state, codec="zstd", asbytes=True)
    return _SIZE.pack(len(state)) + packed


def unsqueezed(kept: bytes) -> bytes:
    """What `squeezed` took."""
    state: bytes = pa.decompress(kept[_SIZE.size :], decompressed_size=_SIZE.unpack_from(kept)[0], codec="zstd", asbytes=True)
    return state


def level_of(partials: pa.Table) -> str:
    """The level of a table of partials, which are all of one."""
    length = partials["window_end_ms"][0].as_py() - partials["window_start_ms"][0].as_py()
    return next(level for level, level_ms in LEVEL_MS.items() if level_ms == length)


SHORTER: Final = {LEVEL_HOUR: LEVEL_MINUTE, LEVEL_DAY: LEVEL_HOUR}
"""What each longer level is made of."""
CASCADE: Final[Sequence[str]] = (LEVEL_HOUR, LEVEL_DAY)
