"""The generator's own plain collectors: arrivals become FlowBatches in the order in which a bus would take them.

In: slices of arrivals. Out: bus entries with their virtual append time. Stands in for ingest where a test wants the pipeline alone,
with the faults of the scenario's collectors: a restart (new epoch), an outage (batches keep their marks and come late), repeats.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from common.addresses import pack_address
from flowpb.codec import Codec, Header, encode
from flowpb.lanes import LANES, lane_of
from ingest.loadgen.canonical import Canonical, Carried
from ingest.loadgen.network import Arrival
from ingest.loadgen.oddities import bend_times
from ingest.loadgen.offsets import ClockOffset
from ingest.loadgen.records import Ints
from ingest.loadgen.scenario import Collector, Scenario

_STREAM: Final = 20
_IDLE_MS: Final = 1_000
_CLOSING_STEP_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class BusEntry:
    """What a bus takes: `append_ms` is virtual time."""

    append_ms: int
    lane: int
    value: bytes


@dataclass(slots=True)
class _Waiting:
    """An arrival in an open batch, with the correction that was in force."""

    arrival: Arrival
    correction_ms: int


@dataclass(slots=True)
class _State:
    """One collector."""

    number: int
    collector: Collector
    epoch: int
    open: dict[int, list[_Waiting]] = field(default_factory=dict)
    seqs: dict[int, int] = field(default_factory=dict)
    sealed_ms: dict[int, int] = field(default_factory=dict)
    offsets: dict[str, ClockOffset] = field(default_factory=dict)
    backlog: list[tuple[int, bytes]] = field(default_factory=list)
    repeats: list[tuple[int, bytes]] = field(default_factory=list)


class Collectors:
    """All collectors of a scenario. Without `faults` none restarts, fails or repeats, and no time is bent."""

    def __init__(self, scenario: Scenario, start_ms: int, faults: bool = True, codec: Codec = "none", lanes: int = LANES) -> None:
        self._scenario = scenario
        self._start_ms = start_ms
        self._faults = faults
        self._codec: Codec = codec
        self._lanes = lanes
        self._fleet = scenario.fleet()
        self._lane_of = [lane_of(pack_address(exporter.address), lanes) for exporter in self._fleet]
        self._used = sorted(set(self._lane_of))
        self._canonical = Canonical(scenario)
        self._states = [_State(number, collector, start_ms) for number, collector in enumerate(scenario.collectors)]
        self._rng = np.random.default_rng([scenario.seed, _STREAM])

    def entries(self, slices: Iterable[Sequence[Arrival]]) -> Iterator[BusEntry]:
        """Bus entries in log order; after the last arrival empty batches go on until every window is closed."""
        step = self._scenario.batch_interval_ms
        tick = self._start_ms + step
        for arrivals in slices:
            for arrival in arrivals:
                while arrival.received_ms >= tick:
                    yield from self._close(tick)
                    tick += step
                self._take(arrival)
        last = tick + self._scenario.closing_ms
        for closing in (tick, *range(tick + _CLOSING_STEP_MS, last + 1, _CLOSING_STEP_MS)):
            yield from self._close(closing)
        for state in self._states:
            yield from (BusEntry(last, lane, value) for lane, value in state.backlog + state.repeats)

    def _take(self, arrival: Arrival) -> None:
        state, datagram = self._states[arrival.collector], arrival.datagram
        correction_ms = self._correction(state, arrival) if self._canonical.tells_time(datagram.exporter) else 0
        if not arrival.copy and len(datagram.rows):
            state.open.setdefault(self._lane_of[datagram.exporter], []).append(_Waiting(arrival, correction_ms))

    def _correction(self, state: _State, arrival: Arrival) -> int:
        """The clock correction in force for a datagram, after it was seen."""
        datagram = arrival.datagram
        exported = self._canonical.exported_ms(datagram.exporter, datagram.sent_ms)
        address = self._fleet[datagram.exporter].address
        offset = state.offsets.get(address)
        if offset is None:
            offset = state.offsets[address] = ClockOffset.first(arrival.received_ms, exported)
        offset.see(arrival.received_ms, exported)
        return offset.correction_ms

    def _close(self, tick: int) -> Iterator[BusEntry]:
        """All that the collectors give to the bus at one moment."""
        for state in self._states:
            repeats, state.repeats = state.repeats, []
            state.backlog += [*self._sealed(state, tick), *repeats]
            if not (self._faults and self._is_out(state.collector, tick)):
                yield from (BusEntry(tick, lane, value) for lane, value in state.backlog)
                state.backlog = []
            restart = state.collector.restart_at_s
            if self._faults and restart is not None and state.epoch == self._start_ms and tick >= self._start_ms + restart * 1000:
                state.epoch, state.seqs = tick, {}

    def _sealed(self, state: _State, tick: int) -> Iterator[tuple[int, bytes]]:
        """A batch of every lane that has flows or was silent too long; some will be given to the bus once more, later."""
        for lane in self._used:
            waiting = state.open.pop(lane, [])
            if waiting or tick - state.sealed_ms.get(lane, self._start_ms) >= _IDLE_MS:
                value = self._seal(state, lane, tick, waiting)
                if self._faults and self._rng.random() < state.collector.repeat:
                    state.repeats.append((lane, value))
                yield lane, value

    def _seal(self, state: _State, lane: int, tick: int, waiting: list[_Waiting]) -> bytes:
        seq = state.seqs.get(lane, 0)
        state.seqs[lane], state.sealed_ms[lane] = seq + 1, tick
        header = Header(state.collector.name, state.epoch, lane, seq, tick, self._lanes)
        return encode(header, self._flows(waiting) if waiting else None, self._codec)

    def _flows(self, waiting: list[_Waiting]) -> pa.RecordBatch:
        datagrams = [w.arrival.datagram for w in waiting]
        counts = [len(datagram.rows) for datagram in datagrams]

        def spread(values: Iterable[int]) -> Ints:
            return np.repeat(np.fromiter(values, dtype=np.int64, count=len(waiting)), counts)

        carried = Carried(
            np.concatenate([datagram.rows for datagram in datagrams]),
            spread(datagram.sent_ms for datagram in datagrams),
            spread(w.arrival.received_ms for w in waiting),
            spread(datagram.position for datagram in datagrams),
            spread(w.correction_ms for w in waiting),
        )
        flows = self._canonical.batch(carried)
        return bend_times(flows, self._scenario.oddities, self._rng) if self._faults else flows

    def _is_out(self, collector: Collector, tick: int) -> bool:
        if collector.outage_from_s is None or collector.outage_to_s is None:
            return False
        return collector.outage_from_s * 1000 <= tick - self._start_ms < collector.outage_to_s * 1000
