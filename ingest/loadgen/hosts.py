"""Who talks: addresses, AS numbers, masks, and draws after Zipf's law in constant time.

In: sizes, skew and a generator of random numbers. Out: arrays that traffic indexes. Refuses to know flows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_QUANTILES: Final = 1 << 18
_MAPPED: Final = np.frombuffer(bytes(10) + b"\xff\xff", dtype=np.uint8)
_INSIDE6: Final = bytes.fromhex("20010db800010000")
_OUTSIDE6: Final = bytes.fromhex("20010db8ff000000")

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dice:
    """Draws indices by weight, out of a table of quantiles: items rarer than one in the table's size are thinned out."""

    table: Indices

    @classmethod
    def weighted(cls, weights: npt.NDArray[np.float64]) -> "Dice":
        """Index i comes with probability weights[i] / sum."""
        edges = np.cumsum(weights) / weights.sum()
        middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        return cls(np.minimum(np.searchsorted(edges, middles), len(weights) - 1).astype(np.int64))

    @classmethod
    def zipf(cls, size: int, skew: float) -> "Dice":
        """Index i comes with probability ~ 1 / (i + 1) ** skew."""
        return cls.weighted(1.0 / np.arange(1, size + 1, dtype=np.float64) ** skew)

    def draw(self, rng: np.random.Generator, count: int) -> Indices:
        """`count` indices."""
        return self.table[rng.integers(0, _QUANTILES, count)]


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts with both an IPv4 and an IPv6 address; the first `inside` of them are the own network."""

    v4: npt.NDArray[np.uint8]
    v6: npt.NDArray[np.uint8]
    as_number: npt.NDArray[np.uint32]
    mask4: npt.NDArray[np.uint8]
    inside: int


def make_hosts(inside: int, outside: int, rng: np.random.Generator) -> Hosts:
    """`inside` hosts in 10.0.0.0/8 and 2001:db8:1::/48, `outside` ones in public space, each in one of 400 networks."""
    count = inside + outside
    v4 = np.empty((count, 16), dtype=np.uint8)
    v4[:, :12] = _MAPPED
    v4[:inside, 12:] = _octets(0x0A000000 + rng.permutation(inside << 2)[:inside])
    v4[inside:, 12:] = _octets(0x0B000000 + rng.permutation(outside << 4)[:outside] * 37)
    v6 = np.empty((count, 16), dtype=np.uint8)
    v6[:inside, :8] = np.frombuffer(_INSIDE6, dtype=np.uint8)
    v6[inside:, :8] = np.frombuffer(_OUTSIDE6, dtype=np.uint8)
    v6[:, 8:] = rng.integers(0, 256, (count, 8), dtype=np.uint8)
    networks = rng.integers(1000, 400_000, 400).astype(np.uint32)
    as_number = networks[rng.integers(0, 400, count)]
    as_number[:inside] = 64_512
    mask4 = rng.choice(np.array([16, 20, 22, 24], dtype=np.uint8), count)
    mask4[:inside] = 24
    return Hosts(v4, v6, as_number, mask4, inside)


def _octets(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    return numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
