"""Keys of lane state, (lane, start of the window), of a lane's ledger, and of the second stage, the window alone.

With the last goes what a lane contributes to it. All are packed, so that runners compare, spread and move them as plain bytes.
Moments are milliseconds here and microseconds in Beam.
"""

import struct
from typing import Final

from apache_beam.utils.timestamp import Timestamp

_KEY: Final = struct.Struct(">HQ")
_LANE: Final = struct.Struct(">H")
_WINDOW: Final = struct.Struct(">Q")
_HEAD: Final = struct.Struct(">HB")


def moment(ms: int) -> Timestamp:
    """A time as runners have it."""
    return Timestamp(micros=ms * 1_000)


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


def pack_window(window_start_ms: int) -> bytes:
    """8 octets, big-endian."""
    return _WINDOW.pack(window_start_ms)


def unpack_window(key: bytes) -> int:
    """Start of the window in ms."""
    start: int = _WINDOW.unpack(key)[0]
    return start


def pack_contribution(lane: int, mark: int, contribution: bytes) -> bytes:
    """A lane's contribution to a window, with the mark that it was made at."""
    return _HEAD.pack(lane, mark) + contribution


def unpack_contribution(value: bytes) -> tuple[int, int, bytes]:
    """Lane, mark and contribution."""
    lane, mark = _HEAD.unpack_from(value)
    return lane, mark, value[_HEAD.size :]
