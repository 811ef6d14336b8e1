"""Keys of lane state, (lane, start of the window), and of a lane's ledger, packed so that runners compare them as plain bytes."""

import struct
from typing import Final

_KEY: Final = struct.Struct(">HQ")
_LANE: Final = struct.Struct(">H")


def pack_key(lane: int, window_start_ms: int) -> bytes:
    """10 octets, big-endian."""
    return _KEY.pack(lane, window_start_ms)


def unpack_key(key: bytes) -> tuple[int, int]:
    """Lane and start of the window in ms."""
    lane, window_start_ms = _KEY.unpack(key)
    return lane, window_start_ms


def pack_lane(lane: int) -> bytes:
    """2 octets, big-endian."""
    return _LANE.pack(lane)


def unpack_lane(key: bytes) -> int:
    """The lane."""
    lane: int = _LANE.unpack(key)[0]
    return lane
