"""Sequence numbers of sFlow samples: each data source of an agent numbers its own, so a lost datagram shows in all of them.

In: the numbers of all flow samples of a drain, in the order of arrival, and whose they are. Out: how many samples each domain of an
exporter misses, late ones taken off. Refuses to know samples. All groups of one drain are compared at once; bounded: the sources
that were silent for longest are forgotten first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Domain = tuple[bytes, int]
"""An exporter and its sub-agent."""
SOURCES_KEPT: Final = 65_536
_SOURCE_BITS: Final = 41
_JUMP: Final = 1_000_000
_LATE: Final = 4_096
_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Numbered:
    """Flow samples: the number of the domain that each is of, its data source (up to 41 bits), its sequence number."""

    domain: Longs
    source: Longs
    sequence: Longs


@dataclass(slots=True)
class SampleSequences:
    """The number that each data source is to go on with, by (domain's key, source)."""

    expected: dict[tuple[Domain, int], int] = field(default_factory=dict)

    def missing(self, samples: Numbered, keys: Sequence[Domain]) -> Counter[int]:
        """Samples that are missing, by number of the domain (`keys` says which it is); below 0 where late ones fill gaps."""
        found: Counter[int] = Counter()
        if not len(samples.sequence):
            return found
        order = np.argsort(samples.domain << _SOURCE_BITS | samples.source, kind="stable")
        domain, source, sequence = samples.domain[order], samples.source[order], samples.sequence[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (domain[1:] != domain[:-1]) | (source[1:] != source[:-1])
        first = np.flatnonzero(is_first)
        owners = [(keys[number], one) for number, one in zip(domain[first].tolist(), source[first].tolist(), strict=True)]
        begins = sequence[first]
        known = np.array([self.expected.pop(owner, -1) for owner in owners], np.int64)
        expected = np.where(known < 0, begins, known)
        counts = np.diff(np.append(first, len(order)))
        ahead = (sequence - np.repeat(expected, counts) & _MASK).astype(np.uint32).view(np.int32).astype(np.int64)
        highest = np.maximum.reduceat(ahead, first)
        anew = (highest >= _JUMP) | (highest < -_LATE)
        gaps = np.where(anew, 0, np.maximum(highest + 1, 0) - counts)
        last = sequence[first + counts - 1] + 1
        following = np.where(anew, last, expected + np.maximum(highest + 1, 0)) & _MASK
        self.expected.update(zip(owners, following.tolist(), strict=True))
        while len(self.expected) > SOURCES_KEPT:
            del self.expected[next(iter(self.expected))]
        for number, gap in zip(domain[first].tolist(), gaps.tolist(), strict=True):
            found[number] += gap
        return found
