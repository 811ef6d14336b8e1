"""sFlow agents: what they count at each interface, from one datagram to the next.

In: samples of a slice, in the order in which each agent takes them. Out: their numbers at their sources, pools and drops beside
them, and the counter samples of all interfaces. Counters are the samples scaled up, so that utilisation agrees with flows. Refuses
to know datagrams and times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.loadgen.records import Ints, Rows
from ingest.loadgen.scenario import Exporter
from ingest.loadgen.wire import sflow

_TOTALS: Final = ("in_octets", "in_packets", "out_octets", "out_packets")


@dataclass(frozen=True, slots=True)
class CounterSamples:
    """Counter samples for one datagram: their octets, and how many they are."""

    body: bytes
    samples: int


class Agents:
    """All sFlow agents of a fleet; other exporters have no interfaces here."""

    def __init__(self, fleet: Sequence[Exporter]) -> None:
        self._fleet = fleet
        sizes = [exporter.interfaces if exporter.protocol == "sflow" else 0 for exporter in fleet]
        self._begin = np.concatenate([[0], np.cumsum(sizes)])
        self._first = np.array([exporter.first_if_index for exporter in fleet])
        self._rate = np.array([exporter.sampling.interval for exporter in fleet])
        self._expanded = np.array([exporter.expanded_samples for exporter in fleet])
        self._drops = np.array([exporter.drops / (1 - exporter.drops) for exporter in fleet])
        self._taken = np.zeros(int(self._begin[-1]), dtype=np.int64)
        self._totals = {name: np.zeros(int(self._begin[-1]), dtype=np.uint64) for name in _TOTALS}
        self._turns = [0] * len(fleet)

    def number(self, rows: Rows) -> None:
        """Fill in `sample`: the place of each sample among those of its source, from 1 on."""
        slots = self._slots(rows, sflow.source_of(rows))
        order = np.argsort(slots, kind="stable")
        counts = np.bincount(slots, minlength=len(self._taken))
        before = np.cumsum(counts) - counts
        rows["sample"][order] = self._taken[slots[order]] + np.arange(len(rows)) - before[slots[order]] + 1
        self._taken += counts

    def told(self, rows: Rows) -> sflow.Told:
        """What is said beside numbered samples: every `rate`-th packet is taken, and some of those given up."""
        who, sequence = rows["exporter"], rows["sample"]
        drops = (sequence * self._drops[who]).astype(np.int64)
        return sflow.Told(sequence, (sequence + drops) * self._rate[who], drops, self._rate[who], self._expanded[who])

    def count(self, rows: Rows) -> None:
        """Add samples to the counters of both interfaces that each packet saw."""
        packets = self._rate[rows["exporter"]].astype(np.uint64)
        octets = packets * sflow.frame_octets(rows).astype(np.uint64)
        for end in ("in", "out"):
            slots = self._slots(rows, rows[f"{end}_if"].astype(np.int64))
            np.add.at(self._totals[f"{end}_octets"], slots, octets)
            np.add.at(self._totals[f"{end}_packets"], slots, packets)

    def counters(self, who: int) -> list[CounterSamples]:
        """Counter samples of all interfaces of an agent, for as many datagrams as they need."""
        exporter, mine = self._fleet[who], slice(*self._begin[who : who + 2].tolist())
        self._turns[who] += 1
        indices = np.arange(exporter.first_if_index, exporter.first_if_index + exporter.interfaces)
        totals: dict[str, npt.NDArray[np.uint64]] = {name: total[mine] for name, total in self._totals.items()}
        samples = sflow.encode_counters(indices, self._turns[who], totals, exporter.expanded_samples)
        most = max(1, exporter.datagram_bytes // sflow.LONGEST_COUNTERS)
        parts = [samples[begin : begin + most] for begin in range(0, len(samples), most)]
        return [CounterSamples(b"".join(part), len(part)) for part in parts]

    def restart(self, who: int) -> None:
        """An agent counts anew."""
        mine = slice(*self._begin[who : who + 2].tolist())
        self._taken[mine] = 0
        self._turns[who] = 0
        for total in self._totals.values():
            total[mine] = 0

    def _slots(self, rows: Rows, interface: Ints) -> Ints:
        slots: Ints = self._begin[rows["exporter"]] + interface - self._first[rows["exporter"]]
        return slots
