"""Lanes: which exporter goes to which lane.

In: exporter addresses. Out: lane numbers. The map is part of the contract: collectors and readers must agree on it for ever.
"""

from functools import lru_cache
from typing import Final

LANES: Final = 16
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3


@lru_cache(maxsize=1 << 16)
def lane_of(exporter: bytes, lanes: int = LANES) -> int:
    """Lane of a 16-byte exporter address: FNV-1a (64 bits) of its octets, modulo `lanes`."""
    value = _FNV_OFFSET
    for octet in exporter:
        value = ((value ^ octet) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value % lanes
