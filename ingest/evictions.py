"""State that has to go: too old, too much, or its session has ended. What was held in it is counted, never just forgotten.

In: exporters, domains and their waiting data. Out: state within its bounds, and faults. Refuses to know packets.
"""

from dataclasses import dataclass

from ingest.exporters import Domain, DomainKey, Exporter, Exporters
from ingest.parking import Parking
from ingest.problems import Problem, ProblemLog, Reason
from ingest.protocols.message import Fault


@dataclass(frozen=True, slots=True)
class Evictions:
    """The bounds of all state."""

    exporters: Exporters
    parking: Parking
    log: ProblemLog

    def note(self, exporter: Exporter, version: int, domain: int, received_ms: int, fault: Fault) -> None:
        """Count a fault and keep its place."""
        exporter.problems[fault.reason] += 1
        place = Problem(exporter.address, received_ms, version, domain, fault.set_id, fault.offset, fault.reason, fault.text)
        self.log.add(place)

    def domain(self, exporter: Exporter, key: DomainKey) -> Domain:
        """A domain of an exporter, new if need be."""
        domain, pushed_out = self.exporters.domain(exporter, key)
        if pushed_out is not None:
            number, templates, now_ms = pushed_out.number, len(pushed_out.templates), exporter.last_ms
            self._give_up(exporter, pushed_out, now_ms)
            reason = Reason.TEMPLATE_EVICTED if templates else Reason.EXPORTER_EVICTED
            text = f"domain {number} forgotten with {templates} templates: there are too many domains"
            self.note(exporter, pushed_out.version, number, now_ms, Fault(reason, 0, text))
        return domain

    def drop_exporter(self, exporter: Exporter, now_ms: int) -> None:
        """Release what waits for an exporter that was pushed out."""
        for domain in exporter.domains.values():
            self._give_up(exporter, domain, now_ms)
        fault = Fault(Reason.EXPORTER_EVICTED, 0, "state forgotten: there are more exporters than `ingest.exporters`")
        self.note(exporter, exporter.version, 0, now_ms, fault)

    def end_domain(self, exporter: Exporter, domain: Domain) -> None:
        """Forget a domain whose transport session has ended."""
        self._give_up(exporter, domain, exporter.last_ms)
        self.exporters.drop_domain(exporter, domain)

    def keep_within(self, exporter: Exporter, now_ms: int) -> None:
        """Let go of others than this exporter while everything together takes too much."""
        while (excess := self.exporters.excess(exporter)) is not None:
            self.exporters.drop(excess)
            self.drop_exporter(excess, now_ms)

    def expire(self, before_ms: int, now_ms: int) -> None:
        """Forget templates unused since `before_ms`, and data that has waited too long."""
        for exporter in self.exporters:
            for domain in exporter.domains.values():
                if domain.session == 0:
                    self.exporters.remove_templates(exporter, domain, domain.templates.expire(before_ms))
        for exporter, domain, sets in self.parking.expire(now_ms):
            self._count(exporter, domain, sets, now_ms)

    def _give_up(self, exporter: Exporter, domain: Domain, now_ms: int) -> None:
        if sets := self.parking.forget(domain):
            self._count(exporter, domain, sets, now_ms)

    def _count(self, exporter: Exporter, domain: Domain, sets: int, now_ms: int) -> None:
        exporter.expired_sets += sets
        domain.sequence.give_up()
        exporter.problems[Reason.PARKED_EXPIRED] += sets - 1
        self.log.totals[Reason.PARKED_EXPIRED] += sets - 1
        fault = Fault(Reason.PARKED_EXPIRED, 0, f"{sets} data sets given up, their templates never came")
        self.note(exporter, domain.version, domain.number, now_ms, fault)
