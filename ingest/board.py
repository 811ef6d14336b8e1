"""Exporters as an operator wants to see them: who sends what, what is missing, and why.

In: the reports of the ledger as they are made, and sources that were refused. Out: one plain row per exporter. Bounded; exporters
that have been silent for a day are forgotten. Refuses to know the decoder.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from common.addresses import format_address
from flowpb.flow_batch_pb2 import ExporterReport
from ingest.exporter_rules import ExporterRules
from ingest.interface_board import InterfaceBoard, InterfaceSummary
from ingest.readings import InterfaceLoad

_FORGET_MS: Final = 24 * 3_600_000
_SILENT_MS: Final = 60_000
_LIMIT: Final = 8_192
_LOSSY: Final = 0.01
NOBODY: Final[Mapping[bytes, int]] = {}


@dataclass(slots=True)
class _Seen:
    report: ExporterReport = field(default_factory=ExporterReport)
    last_ms: int = 0
    datagrams: int = 0
    records: int = 0
    missing: int = 0
    received: int = 0
    socket_drops: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ExporterRow:
    """One exporter; rates are those of the last report period, counts those since the start of this process."""

    exporter: str
    name: str
    location: str
    protocol_version: int
    last_seen_ms: int
    datagrams_per_s: float
    flows_per_s: float
    datagrams: int
    flows: int
    templates: int
    awaited_templates: tuple[str, ...]
    samplers: int
    sequence_missing: int
    sequence_loss: float
    socket_drops: int
    clock_offset_ms: int
    problems: dict[str, int]
    last_error: str
    interfaces: int
    busiest_share: float | None
    interface_errors: int
    interface_discards: int
    state: str


@dataclass(frozen=True, slots=True)
class InterfaceRow:
    """One interface whose agent sends counters; rates and counts are those between its last two readings, ways are (in, out)."""

    exporter: str
    name: str
    load: InterfaceLoad


class ExporterBoard:
    """Written by the decoding thread, read by any."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._interfaces = InterfaceBoard()
        self._lock = threading.Lock()

    def take(self, reports: Mapping[int, Iterable[ExporterReport]], now_ms: int) -> None:
        """Add what the reports of one period say."""
        with self._lock:
            for report in (each for lane in reports.values() for each in lane):
                seen = self._seen.setdefault(report.exporter, _Seen())
                self._seen.move_to_end(report.exporter)
                _add(seen, report)
                self._interfaces.take(report.exporter, report.interfaces)
            self._interfaces.forget(now_ms)
            while self._seen and (len(self._seen) > _LIMIT or self._oldest().last_ms < now_ms - _FORGET_MS):
                self._seen.popitem(last=False)

    def note_error(self, exporter: bytes, text: str) -> None:
        """What went wrong last with an exporter."""
        with self._lock:
            if exporter in self._seen or len(self._seen) < _LIMIT:
                self._seen.setdefault(exporter, _Seen()).last_error = text

    def active(self) -> int:
        """Exporters that sent something in the last period."""
        with self._lock:
            return sum(1 for seen in self._seen.values() if seen.report.datagrams)

    def rows(self, rules: ExporterRules, now_ms: int, refused: Mapping[bytes, int] = NOBODY) -> list[ExporterRow]:
        """All exporters in the order of their addresses, then the sources that are `refused`, with their datagrams."""
        with self._lock:
            of_interfaces = self._interfaces.summaries()
            rows = [_row(address, self._seen[address], rules, now_ms, of_interfaces.get(address)) for address in sorted(self._seen)]
        for address in sorted(refused):
            row = _row(address, _Seen(datagrams=refused[address]), rules, now_ms)
            rows.append(replace(row, state="refused: its network is not in ingest.allowed_networks"))
        return rows

    def interfaces(self, rules: ExporterRules) -> list[InterfaceRow]:
        """All interfaces whose agents send counters, in the order of exporter and number."""
        with self._lock:
            loads = self._interfaces.loads()
        return [InterfaceRow(format_address(exporter), rules.of(exporter).name, load) for exporter, load in loads]

    def _oldest(self) -> _Seen:
        return next(iter(self._seen.values()))


def _add(seen: _Seen, report: ExporterReport) -> None:
    seen.report = report
    seen.datagrams += report.datagrams
    seen.records += report.records
    seen.socket_drops += report.socket_drops
    seen.missing += sum(sequence.missing for sequence in report.sequences)
    seen.received += sum(sequence.received for sequence in report.sequences)
    seen.problems.update(dict(report.problems))
    if report.datagrams or not seen.last_ms:
        seen.last_ms = report.until_ms


def _row(
    address: bytes, seen: _Seen, rules: ExporterRules, now_ms: int, of_interfaces: InterfaceSummary | None = None
) -> ExporterRow:
    summary = of_interfaces or InterfaceSummary()
    report, rule = seen.report, rules.of(address)
    seconds = max(report.until_ms - report.since_ms, 1) / 1000
    expected = seen.missing + seen.received
    loss = seen.missing / expected if expected else 0.0
    return ExporterRow(
        format_address(address),
        rule.name,
        rule.location,
        report.protocol_version,
        seen.last_ms,
        round(report.datagrams / seconds, 3),
        round(report.records / seconds, 3),
        seen.datagrams,
        seen.records,
        report.templates,
        tuple(f"template {each.template_id} of domain {each.domain}, {each.sets} sets wait" for each in report.awaited),
        report.samplers,
        seen.missing,
        round(loss, 6),
        seen.socket_drops,
        report.clock_offset_ms,
        dict(seen.problems),
        seen.last_error,
        summary.interfaces,
        summary.busiest_share,
        summary.interface_errors,
        summary.interface_discards,
        _state(seen, now_ms),
    )


def _state(seen: _Seen, now_ms: int) -> str:
    """The first thing to look at, in words, by the last report: the answer to "why is my exporter missing?"."""
    missing = sum(sequence.missing for sequence in seen.report.sequences)
    expected = missing + sum(sequence.received for sequence in seen.report.sequences)
    if now_ms - seen.last_ms > _SILENT_MS:
        return f"silent for {(now_ms - seen.last_ms) // 1000} s"
    if seen.report.awaited and not seen.report.records:
        return "waiting for templates"
    if not seen.records:
        return "nothing decodable" if seen.problems else "no flows yet"
    if seen.report.socket_drops:
        return "losing datagrams at this collector"
    if missing > _LOSSY * expected:
        return "losing datagrams on the way"
    return "ok"
