"""Keys of lane state: (lane, start of the window), packed so that runners compare and spread them as plain bytes."""

import struct
from typing import Final

_KEY: Final = struct.Struct(">HQ")


def pack_key(lane: int, window_start_ms: int) -> bytes:
    """10 octets, big-endian."""
    return _KEY.pack(lane, window_start_ms)


def unpack_key(key: bytes) -> tuple[int, int]:
    """Lane and start of the window in ms."""
    lane, window_start_ms = _KEY.unpack(key)
    return lane, window_start_ms
