"""Samples of what a process holds, by minute: for soaks.

In: amounts by name, again and again, and a clock. Out: each name's amount by the minute, its last, and its slope over the second
half in MB an hour. The first half fills what is bounded: caches, heaps, windows that are still open.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

HEAP: Final = "heap"
_MB: Final = 1e6


@dataclass(slots=True)
class Memory:
    """Samples of octets by name."""

    clock: Callable[[], float] = time.monotonic
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, held: Mapping[str, int]) -> None:
        """Of now."""
        for name, octets in held.items():
            self.seen.setdefault(name, []).append((self.clock(), octets))

    def figures(self) -> dict[str, dict[str, float]]:
        """MB at the end, and MB an hour over the second half, by least squares."""
        return {name: {"mb": round(samples[-1][1] / _MB, 1), "mb_per_hour": slope(samples)} for name, samples in self.seen.items()}

    def by_minute(self) -> dict[str, list[float]]:
        """MB of each minute from the first sample on: the most of its samples, of the heap the least, which is what lives in it."""
        return {name: minutes(samples, min if name == HEAP else max) for name, samples in self.seen.items()}


def minutes(samples: list[tuple[float, int]], choose: Callable[[int, int], int] = max) -> list[float]:
    """MB of each minute that has samples."""
    chosen: dict[int, int] = {}
    for at, octets in samples:
        minute = int((at - samples[0][0]) // 60)
        chosen[minute] = choose(octets, chosen.get(minute, octets))
    return [round(octets / _MB, 1) for _, octets in sorted(chosen.items())]


def slope(samples: list[tuple[float, int]]) -> float:
    """MB an hour over the second half of the samples; 0 where there are too few."""
    later = np.array(samples[len(samples) // 2 :], float)
    if len(later) < 3:
        return 0.0
    hours, megabytes = (later[:, 0] - later[0, 0]) / 3_600, later[:, 1] / _MB
    return round(float(np.polyfit(hours, megabytes, 1)[0]), 1)
