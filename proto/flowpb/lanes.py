"""Lanes: which exporter goes to which lane.

In: exporter addresses. Out: lane numbers. The map is part of the contract: collectors and readers must agree on it for ever.
"""

from functools import lru_cache
from typing import Final

LANES: Final = 16
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_WORD: Final = 0xFFFFFFFFFFFFFFFF


def fnv1a(octets: bytes) -> int:
    """FNV-1a, 64 bits (draft-eastlake-fnv)."""
    value = _FNV_OFFSET
    for octet in octets:
        value = ((value ^ octet) * _FNV_PRIME) & _WORD
    return value


@lru_cache(maxsize=1 << 16)
def lane_of(exporter: bytes, lanes: int = LANES) -> int:
    """Lane of a 16-byte exporter address: its FNV-1a, mixed (the finaliser of MurmurHash3), modulo `lanes`.

    Mixed, since the low bits of the plain hash depend on the low bits of each octet alone, and folding does not help: exporters
    10.0.16.1, 10.0.32.1, 10.0.48.1 ... would all share one lane of sixteen.
    """
    value = fnv1a(exporter)
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & _WORD
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & _WORD
    return (value ^ (value >> 33)) % lanes
