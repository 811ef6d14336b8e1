"""The ledger's lines: what was seen of one exporter since its last report.

In: an exporter's state. Out: an ExporterReport; taking it sets the counts to 0. Refuses to know the kernel's drops (the listener
adds them).
"""

from collections import Counter
from collections.abc import Iterable

from flowpb.flow_batch_pb2 import AwaitedTemplate, ExporterReport, SequenceReport
from ingest.exporters import Domain, Exporter
from ingest.readings import InterfaceReading, line_of


def take_report(exporter: Exporter, now_ms: int, readings: Iterable[InterfaceReading] = ()) -> ExporterReport:
    """The report of [since_ms, now_ms), with the readings of its interfaces."""
    domains = exporter.domains.values()
    report = ExporterReport(
        exporter=exporter.address,
        since_ms=exporter.since_ms,
        until_ms=now_ms,
        datagrams=exporter.datagrams,
        duplicates=exporter.duplicates,
        records=exporter.records,
        option_records=exporter.option_records,
        problems={reason.value: count for reason, count in exporter.problems.items()},
        parked_sets=sum(len(domain.parked) for domain in domains),
        replayed_sets=exporter.replayed_sets,
        expired_sets=exporter.expired_sets,
        sequences=[report for domain in domains if (report := _sequence(domain)) is not None],
        clock_offset_ms=exporter.clock.correction,
        templates=exporter.template_count,
        samplers=sum(_samplers(domain) for domain in domains),
        awaited=[awaited for domain in domains for awaited in _awaited(domain)],
        protocol_version=exporter.version,
        interfaces=map(line_of, readings),
    )
    exporter.since_ms = now_ms
    exporter.datagrams = exporter.duplicates = exporter.records = exporter.option_records = 0
    exporter.replayed_sets = exporter.expired_sets = 0
    exporter.problems.clear()
    return report


def _sequence(domain: Domain) -> SequenceReport | None:
    if not domain.parked:
        domain.sequence.settle()
    taken = domain.sequence.take()
    if not (taken.received or taken.missing or taken.reordered or taken.restarts or taken.waiting or taken.undecoded):
        return None
    return SequenceReport(
        domain=domain.number,
        protocol_version=domain.version,
        unit=taken.unit,
        received=taken.received,
        missing=taken.missing,
        reordered=taken.reordered,
        restarts=taken.restarts,
        missing_flows=taken.missing_flows(),
        waiting=taken.waiting,
        undecoded=taken.undecoded,
    )


def _samplers(domain: Domain) -> int:
    facts = domain.facts
    return facts.samplers + (facts.default is not None)


def _awaited(domain: Domain) -> list[AwaitedTemplate]:
    sets = Counter(parked.template_id for parked in domain.parked)
    return [AwaitedTemplate(domain=domain.number, template_id=number, sets=count) for number, count in sorted(sets.items())]
