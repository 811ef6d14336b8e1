"""Addresses: text and the 16-byte canonical form (IPv4 as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2)."""

import ipaddress
from typing import Final

_MAPPED: Final = bytes(10) + b"\xff\xff"


def pack_address(text: str) -> bytes:
    """Canonical 16 bytes of an IPv4 or IPv6 address; raises ValueError."""
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 16 else _MAPPED + packed


def format_address(packed: bytes) -> str:
    """Text of a canonical address: dotted for IPv4-mapped, else RFC 5952."""
    if packed[:12] == _MAPPED:
        return ".".join(map(str, packed[12:]))
    return str(ipaddress.IPv6Address(packed))
