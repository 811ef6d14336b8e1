"""What other threads counted, moved into the counters by the decoding thread, which owns those.

In: totals that only rise, each written by one thread. Out: their growth, in the counters.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.metrics import Counters


@dataclass(slots=True)
class Tallies:
    """Remembers how much of each total has been moved."""

    counters: Counters
    _totals: list[tuple[str, str, str, Callable[[], int]]] = field(default_factory=list)
    _families: list[tuple[str, str, Callable[[], Mapping[str, int]]]] = field(default_factory=list)
    _moved: Counter[tuple[str, str]] = field(default_factory=Counter)

    def watch(self, metric: str, total: Callable[[], int], label: str = "", value: str = "") -> None:
        """Move one total, under one label value if the metric has a label."""
        self._totals.append((metric, label, value, total))

    def watch_family(self, metric: str, label: str, totals: Callable[[], Mapping[str, int]]) -> None:
        """Move totals by label value."""
        self._families.append((metric, label, totals))

    def collect(self) -> None:
        """Move what has been added since the last call."""
        for metric, label, value, total in self._totals:
            self._move(metric, label, value, total())
        for metric, label, totals in self._families:
            for value, amount in totals().items():
                self._move(metric, label, value, amount)

    def _move(self, metric: str, label: str, value: str, total: int) -> None:
        grown = total - self._moved[metric, value]
        if grown:
            self._moved[metric, value] = total
            self.counters.add(metric, grown, **({label: value} if label else {}))
