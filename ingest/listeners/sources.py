"""Whose packets are taken: restrictions by source network.

In: networks from the settings. Out: yes or no for a canonical address. Pure.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

_MAPPED_BITS: Final = 96
_IPV4_MAPPED: Final = int.from_bytes(b"\xff\xff") << 32

Admit = Callable[[bytes], bool]
Identify = Callable[[bytes], bytes | None]
"""Canonical source address -> the exporter that it counts as, or None when nothing is taken from it."""


class Network:
    """A network of either family, compared in the canonical 128 bits; raises ValueError for what is none."""

    __slots__ = ("_shift", "_value", "text")

    def __init__(self, text: str) -> None:
        network = ipaddress.ip_network(text)
        value, bits = int(network.network_address), network.prefixlen
        if isinstance(network, ipaddress.IPv4Network):
            value, bits = value | _IPV4_MAPPED, bits + _MAPPED_BITS
        self.text = text
        self._shift = 128 - bits
        self._value = value >> self._shift

    @property
    def bits(self) -> int:
        """Prefix length in the canonical 128 bits; the longer one is the more specific."""
        return 128 - self._shift

    def __contains__(self, address: bytes) -> bool:
        return int.from_bytes(address) >> self._shift == self._value


def admit_networks(allowed: Iterable[str]) -> Admit:
    """Takes sources in any of these networks; all sources when there are none."""
    networks = [Network(text) for text in allowed]
    if not networks:
        return lambda _: True
    return lambda address: any(address in network for network in networks)
