"""The way from exporters to collectors: loss, duplicates, reordering, and who gets what.

In: slices of datagrams as sent. Out: slices of arrivals in the order of arrival. Datagrams that announce templates and options are
spared, since no exact answer is possible without them, and reach every collector that gets data of their exporter.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.loadgen.export import Datagram
from ingest.loadgen.scenario import Scenario
from ingest.loadgen.traffic import SLICE_MS

_STREAM: Final = 10


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram that reached a collector; `copy` marks the second of a duplicate."""

    datagram: Datagram
    received_ms: int
    collector: int
    copy: bool = False


def deliver(scenario: Scenario, start_ms: int, slices: Iterable[list[Datagram]]) -> Iterator[list[Arrival]]:
    """Arrivals of each slice by time; the last lists hold what was under way at the end."""
    waiting: list[Arrival] = []
    homes = _homes(scenario)
    for number, sent in enumerate(slices):
        rng = np.random.default_rng([scenario.seed, _STREAM, number])
        waiting += _fates(scenario, homes, sent, rng)
        waiting.sort(key=lambda arrival: arrival.received_ms)
        horizon = start_ms + (number + 1) * SLICE_MS
        ready = sum(arrival.received_ms < horizon for arrival in waiting)
        yield waiting[:ready]
        waiting = waiting[ready:]
    yield waiting


def _homes(scenario: Scenario) -> list[int]:
    """The collector of each exporter where exporters are dealt out; processes of one address stay together."""
    addresses = list(dict.fromkeys(exporter.address for exporter in scenario.fleet()))
    return [addresses.index(exporter.address) % len(scenario.collectors) for exporter in scenario.fleet()]


def _fates(scenario: Scenario, homes: list[int], sent: list[Datagram], rng: np.random.Generator) -> Iterator[Arrival]:
    network, collectors = scenario.network, len(scenario.collectors)
    dealt = scenario.split == "datagrams" and collectors > 1
    lost, doubled, late = (rng.random((3, len(sent))) < [[network.loss], [network.duplicate], [network.reorder]]).tolist()
    delays = rng.integers(1, network.reorder_ms + 1, (2, len(sent))).tolist()
    dice = rng.integers(0, collectors, len(sent)).tolist()
    for i, datagram in enumerate(sent):
        received = datagram.sent_ms + network.latency_ms
        if datagram.announces:
            for collector in range(collectors) if dealt else (homes[datagram.exporter],):
                yield Arrival(datagram, received, collector)
            continue
        if lost[i]:
            continue
        collector = dice[i] if dealt else homes[datagram.exporter]
        received += delays[0][i] if late[i] else 0
        yield Arrival(datagram, received, collector)
        if doubled[i]:
            yield Arrival(datagram, received + delays[1][i], collector, copy=True)
