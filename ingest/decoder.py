"""The decoder of all exporters: datagrams in, canonical record batches per lane and reports per exporter out.

Detects the protocol by the version word, keeps the state of exporters, and gathers the records of each structure until they are
drained. No I/O, no clock: time is that of the datagrams. Never raises on any octets; what is wrong is counted with a reason, and
its place kept. Counts `ingest_datagrams_total`, `_datagram_bytes_total`, `_flows_total`, `_option_records_total` and
`_problems_total`.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, takewhile
from operator import attrgetter
from typing import Final

import pyarrow as pa

from common.config import Ingest
from common.metrics import Counters
from flowpb.flow_batch_pb2 import ExporterReport
from flowpb.lanes import lane_of
from flowpb.schema import ProtocolVersion
from ingest import bulk, reports, salvage, snapshots, tables
from ingest.canonical import Canonicaliser, Reading
from ingest.choices import Choices
from ingest.datagram import Datagram
from ingest.exporter_rules import AGENT
from ingest.exporters import Exporter, Exporters
from ingest.intake import Intake
from ingest.lending import Lent
from ingest.options import Facts
from ingest.parking import Parking
from ingest.pending import Pending
from ingest.problems import Problem, ProblemLog, Reason
from ingest.protocols import sflow
from ingest.protocols.message import Fault
from ingest.readings import InterfaceReading

_SFLOW_5: Final = b"\0\0\0\x05"
_SFLOW_VERSION: Final = int(ProtocolVersion.SFLOW_V5)
_FIXED: Final = (1, 5, 7)
_TEMPLATED: Final = (9, 10)
Watch = Callable[[Datagram, int], None]
"""Told of a datagram after it was taken in, and how many flows it brought."""
READINGS_KEPT: Final = 16_384
"""Readings of interfaces that wait to be taken."""
NAMES: Final[dict[int, str]] = {
    0: "unknown",
    ProtocolVersion.NETFLOW_V1: "netflow1",
    ProtocolVersion.NETFLOW_V5: "netflow5",
    ProtocolVersion.NETFLOW_V7: "netflow7",
    ProtocolVersion.NETFLOW_V9: "netflow9",
    ProtocolVersion.IPFIX: "ipfix",
    ProtocolVersion.SFLOW_V5: "sflow5",
}
"""Label `protocol` of the counters, by protocol version."""


def _do_not_watch(_datagram: Datagram, _flows: int) -> None:
    """Nobody asks."""


class Decoder:
    """All exporters of one collector. Not thread-safe."""

    def __init__(self, settings: Ingest, lanes: int, counters: Counters) -> None:
        """Raises ConfigError for elements in the settings that do not exist."""
        self._settings = settings
        self._lanes = lanes
        self._counters = counters
        self._exporters = Exporters(settings.exporters, settings.templates_per_exporter)
        self._parking = Parking(settings.parked_bytes, settings.parked_s * 1000)
        self._log = ProblemLog()
        self._pending = Pending()
        self._canonicaliser = Canonicaliser(lanes)
        self._lent = Lent(settings.exporters)
        choices, log = Choices(settings), self._log
        self._intake = Intake(settings, self._exporters, self._parking, self._pending, log, choices, self._known, self._lent)
        self._by_agent = AGENT in self._intake.choices.rules.identities
        self._readings: deque[InterfaceReading] = deque()
        self._datagrams: Counter[int] = Counter()
        self._octets: Counter[int] = Counter()
        self._pause = 0

    def feed(self, datagram: Datagram) -> None:
        """Take one datagram in. Its flows wait for `drain`, its options are in force for them already."""
        payload, received_ms = bytes(datagram.payload), datagram.received_ms
        address = self._agent(datagram.exporter, payload) if self._by_agent else datagram.exporter
        exporter = self._exporters.by_address.get(address) or self._admit(address, received_ms)
        exporter.datagrams += 1
        exporter.last_ms = received_ms
        version = payload[0] << 8 | payload[1] if len(payload) > 1 else 0
        if version in _TEMPLATED:
            self._intake.take_templated(exporter, version, payload, received_ms, datagram.session)
        elif version in _FIXED:
            self._intake.take_fixed(exporter, version, payload, received_ms)
        elif payload[:4] == _SFLOW_5:
            version = _SFLOW_VERSION
            self._intake.take_sflow(exporter, payload, received_ms)
        else:
            version = 0
            self._intake.note(exporter, 0, 0, received_ms, _unknown(payload))
        exporter.version = version or exporter.version
        self._datagrams[version] += 1
        self._octets[version] += len(payload)

    def feed_many(self, datagrams: Sequence[Datagram], watch: Watch = _do_not_watch) -> None:
        """Take many datagrams in; those of each exporter in order. `watch` is told of every one that was not an ordinary one."""
        for _, session in groupby(datagrams, attrgetter("session")):
            same = list(session)
            for start in range(0, len(same), bulk.MOST):
                self._feed_some(same[start : start + bulk.MOST], watch)

    def _feed_some(self, datagrams: Sequence[Datagram], watch: Watch) -> None:
        self._pause = max(0, self._pause - 1)
        if len(datagrams) < bulk.LEAST or self._pause:
            for datagram in datagrams:
                self._feed_watched(datagram, watch)
            return
        addresses = [item.exporter for item in datagrams]
        if self._by_agent:
            addresses = [self._agent(item.exporter, bytes(item.payload)) for item in datagrams]
        crowd = bulk.Bulk(self._intake, datagrams, addresses)
        for number in crowd.take():
            self._pending.arrivals = crowd.arrival(number)
            self._feed_watched(datagrams[number], watch)
        self._pending.arrivals = crowd.arrival(len(datagrams))
        self._datagrams.update(crowd.datagrams)
        self._octets.update(crowd.octets)
        self._pause = bulk.PAUSE if crowd.in_vain else 0

    def _feed_watched(self, datagram: Datagram, watch: Watch) -> None:
        before = self._pending.flows
        self.feed(datagram)
        watch(datagram, self._pending.flows - before)

    def reconsider(self, choices: Choices) -> None:
        """Decode by other settings of exporters from the next drain on."""
        self._intake.choices = choices
        self._by_agent = AGENT in choices.rules.identities

    @property
    def pending_flows(self) -> int:
        """Decodable flows waiting to be drained."""
        return self._pending.flows

    @property
    def pending_bytes(self) -> int:
        """Octets of their records."""
        return self._pending.octets

    def drain(self, watch: Watch = _do_not_watch) -> dict[int, pa.RecordBatch]:
        """All waiting flows by lane, in columns of INGEST_SCHEMA; within a lane each exporter's in the order of arrival.

        `watch` is told of datagrams of sFlow with a faulty sample, of which others may have been decoded.
        """
        pending, self._pending = self._pending, Pending()
        self._intake.pending = self._pending
        self._count()
        if pending.is_empty:
            return {}
        drained, lost = salvage.drain(pending, self._canonicaliser.drain)
        self._note_lost(pending, lost)
        self._take_readings(pending, drained.readings)
        self._note_missing_samples(pending, drained.missing_samples)
        self._note_samples(pending, drained.faults, watch)
        for version, flows in drained.flows.items():
            self._counters.add("ingest_flows_total", flows, protocol=NAMES[version])
        for address, flows in zip(pending.exporters, drained.flows_by_exporter.tolist(), strict=True):
            if (exporter := self._exporters.get(address)) is not None:
                exporter.records += flows
        for (number, reason), count in drained.repairs.items():
            self._log.totals[reason] += count
            if (exporter := self._exporters.get(pending.exporters[number])) is not None:
                exporter.problems[reason] += count
        return drained.batches

    def reports(self, now_ms: int) -> dict[int, list[ExporterReport]]:
        """Per lane what was seen of each exporter since the last call, also of silent and undecodable ones; takes the readings."""
        self._count()
        by_exporter: dict[bytes, list[InterfaceReading]] = {}
        for reading in self.take_interface_readings():
            by_exporter.setdefault(reading.exporter, []).append(reading)
        by_lane: dict[int, list[ExporterReport]] = {}
        for exporter in self._exporters:
            report = reports.take_report(exporter, now_ms, by_exporter.get(exporter.address, ()))
            by_lane.setdefault(exporter.lane, []).append(report)
        return by_lane

    def expire(self, now_ms: int) -> None:
        """Forget templates that have not been used for their time, and data that has waited for too long."""
        self._intake.evictions.expire(now_ms - self._settings.template_timeout_s * 1000, now_ms)

    def snapshot(self) -> bytes:
        """Templates, samplers, options tables and clock offsets, for `restore` after a restart."""
        return snapshots.pack(self._exporters)

    def restore(self, data: bytes) -> None:
        """Bring a snapshot into force; raises InputError if it is none of this version, and changes nothing then."""
        snapshots.unpack(data, self._exporters, lambda address: lane_of(address, self._lanes))

    def lend(self, data: bytes) -> None:
        """Keep another collector's snapshot for data that comes before its template. Raises InputError."""
        self._lent.add(data)

    @property
    def is_waiting(self) -> bool:
        """Whether data waits for its template."""
        return bool(self._parking.waiting)

    def fill(self, data: bytes) -> int:
        """Take what waiting data needs from another collector's snapshot; how many templates. Raises InputError."""
        taken = 0
        for item in snapshots.load(data):
            exporter = self._exporters.get(item.address)
            for key, templates, facts in item.domains if exporter else ():
                domain = exporter.domains.get(key) if exporter else None
                if exporter is None or domain is None or not domain.parked:
                    continue
                if domain.facts == Facts():
                    domain.facts = facts
                    exporter.forget_views()
                taken += sum(self._intake.fill(exporter, domain, template) for template in templates)
        return taken

    def close_session(self, exporter: bytes, session: int) -> None:
        """Forget the templates of a transport session that has ended (RFC 7011 section 8.1)."""
        state = self._exporters.get(exporter)
        if state is not None:
            for domain in [item for item in state.domains.values() if item.session == session]:
                self._intake.evictions.end_domain(state, domain)

    def problems(self, limit: int = 100) -> list[Problem]:
        """The most recent located problems, oldest first."""
        return list(self._log.recent)[-limit:]

    def problems_after(self, last: Problem | None) -> list[Problem]:
        """Problems located since `last`, newest first. Almost always none, and cheap then: made to be asked after each datagram."""
        recent = self._log.recent
        if not recent or recent[-1] is last:
            return []
        return list(takewhile(lambda problem: problem is not last, reversed(recent)))

    def templates(self) -> list[tables.TemplateRow]:
        """All templates in force."""
        return tables.template_rows(self._exporters, self._intake.elements)

    def samplers(self) -> list[tables.SamplerRow]:
        """All samplers that exporters have described."""
        return tables.sampler_rows(self._exporters)

    def names(self) -> list[tables.NameRow]:
        """Names of interfaces, applications, VRFs and domains that exporters have sent."""
        return tables.name_rows(self._exporters)

    def option_records(self) -> list[tables.OptionRow]:
        """The most recent option records, oldest first."""
        return tables.option_rows(self._intake.options, self._intake.elements)

    def take_interface_readings(self) -> list[InterfaceReading]:
        """Interface counters of sFlow agents since the last call or report, as they arrived; beyond a bound the oldest are gone."""
        readings = list(self._readings)
        self._readings.clear()
        return readings

    def _agent(self, sender: bytes, payload: bytes) -> bytes:
        """The exporter of a datagram where senders of sFlow may stand for the agents behind them."""
        rules = self._intake.choices.rules
        if payload[:4] != _SFLOW_5 or rules.of(sender).identity != AGENT or isinstance(sflow.parse_header(payload, 0), Fault):
            return sender
        return rules.identity_of(sflow.agent_address(payload))

    def _known(self, address: bytes, now_ms: int) -> Exporter:
        exporter = self._exporters.get(address) or self._admit(address, now_ms)
        exporter.last_ms = now_ms
        return exporter

    def _admit(self, address: bytes, now_ms: int) -> Exporter:
        exporter, pushed_out = self._exporters.admit(address, lane_of(address, self._lanes), now_ms)
        if pushed_out is not None:
            self._intake.evictions.drop_exporter(pushed_out, now_ms)
        return exporter

    def _note_samples(self, pending: Pending, faults: list[tuple[int, int]], watch: Watch) -> None:
        table = pending.packet_table() if faults else None
        for packet, offset in faults:
            assert table is not None
            exporter = self._exporters.get(pending.exporters[int(table["exporter"][packet])])
            if exporter is not None:
                fault = Fault(Reason.SAMPLE_MALFORMED, offset, "sample is cut, too short, or missing")
                domain, received_ms = int(table["domain"][packet]), int(table["received_ms"][packet])
                self._intake.note(exporter, _SFLOW_VERSION, domain, received_ms, fault)
                watch(Datagram(exporter.address, received_ms, pending.payload_of(packet)), 1)

    def _note_lost(self, pending: Pending, lost: Sequence[salvage.Lost]) -> None:
        table = pending.packet_table() if lost else None
        for packet, error in lost:
            assert table is not None
            exporter = self._exporters.get(pending.exporters[int(table["exporter"][packet])])
            if exporter is not None:
                fault = Fault(Reason.UNDECODABLE, 0, f"records could not be made into flows, a fault of Nephrite: {error}")
                version, domain, received_ms = (int(table[name][packet]) for name in ("version", "domain", "received_ms"))
                self._intake.note(exporter, version, domain, received_ms, fault)

    def _take_readings(self, pending: Pending, readings: list[Reading]) -> None:
        if not readings:
            return
        self._counters.add("ingest_option_records_total", len(readings), protocol=NAMES[ProtocolVersion.SFLOW_V5])
        table = pending.packet_table()
        for number, packet, interfaces in readings:
            address = pending.exporters[number]
            received_ms, domain = int(table["received_ms"][packet]), int(table["domain"][packet])
            self._readings.extend(InterfaceReading(address, received_ms, domain, counters) for counters in interfaces)
            if (exporter := self._exporters.get(address)) is not None:
                exporter.option_records += 1
        for _ in range(len(self._readings) - READINGS_KEPT):
            oldest = self._readings.popleft()
            self._log.totals[Reason.READINGS_DROPPED] += 1
            if (exporter := self._exporters.get(oldest.exporter)) is not None:
                exporter.problems[Reason.READINGS_DROPPED] += 1

    def _note_missing_samples(self, pending: Pending, missing: Mapping[int, int]) -> None:
        for number, samples in missing.items():
            source = pending.sources[number]
            exporter = self._exporters.get(pending.exporters[source.exporter])
            domain = exporter.domains.get((0, _SFLOW_VERSION, source.domain)) if exporter is not None else None
            if domain is not None:
                domain.sequence.missing_samples += samples

    def _count(self) -> None:
        for name, totals in (("ingest_datagrams_total", self._datagrams), ("ingest_datagram_bytes_total", self._octets)):
            for version, count in totals.items():
                self._counters.add(name, count, protocol=NAMES[version])
            totals.clear()
        for version, count in self._intake.take_option_counts().items():
            self._counters.add("ingest_option_records_total", count, protocol=NAMES[version])
        for reason, count in self._log.take_totals().items():
            self._counters.add("ingest_problems_total", count, reason=reason.value)


def _unknown(payload: bytes) -> Fault:
    head = payload[:4].hex() or "nothing"
    return Fault(Reason.UNKNOWN_PROTOCOL, 0, f"{len(payload)} octets that begin with {head} are no known export protocol")


__all__ = ["NAMES", "Datagram", "Decoder", "InterfaceReading"]
