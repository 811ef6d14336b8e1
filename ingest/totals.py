"""Counters that grow from report to report, made into what came since the last one.

In: total counters (elements 85, 86) of exporters that send no others, and the counters of Cisco ASA events, with the key of their
flow. Out: differences. Keeps the last report of each flow, bounded: the oldest go first. Refuses to know columns.
An ASA update carries what came since the one before, and the teardown the whole again (NSEL guide, "Flow Update Events").
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

FLOWS_KEPT: Final = 65_536
_ACTIVE_TIMEOUT: Final = 2
DELETED: Final = 2
UPDATED: Final = 5
NEVER: Final = -(1 << 62)
Counters = tuple[int, ...]


class Report(NamedTuple):
    """Counters of a flow, and the time up to which they count; as a result: what is new, and since when (NEVER: all of it)."""

    counters: Counters
    moment_ms: int


@dataclass(slots=True)
class Totals:
    """Last reports by flow."""

    reported: dict[bytes, Report] = field(default_factory=dict)

    def since_last(self, key: bytes, totals: Report, end_reason: int) -> Report:
        """What came since the last report; smaller totals than before begin anew. A flow that ended is forgotten."""
        before = self.reported.get(key)
        if end_reason not in (0, _ACTIVE_TIMEOUT):
            self.reported.pop(key, None)
        else:
            self._keep(key, totals)
        if before is None or any(now < then for now, then in zip(totals.counters, before.counters, strict=True)):
            return Report(totals.counters, NEVER)
        return Report(_less(totals.counters, before.counters), before.moment_ms)

    def of_event(self, key: bytes, report: Report, event: int) -> Report:
        """What a firewall event adds to the ones before it."""
        before = self.reported.get(key)
        since = NEVER if before is None else before.moment_ms
        if event == UPDATED:
            sums = report.counters if before is None else _sum(report.counters, before.counters)
            self._keep(key, Report(sums, report.moment_ms))
            return Report(report.counters, since)
        if event == DELETED and before is not None:
            del self.reported[key]
            return Report(_less(report.counters, before.counters), since)
        return Report(report.counters, NEVER)

    def _keep(self, key: bytes, report: Report) -> None:
        self.reported.pop(key, None)
        self.reported[key] = report
        if len(self.reported) > FLOWS_KEPT:
            del self.reported[next(iter(self.reported))]


def _less(now: Counters, then: Counters) -> Counters:
    return tuple(max(0, new - old) for new, old in zip(now, then, strict=True))


def _sum(now: Counters, then: Counters) -> Counters:
    return tuple(new + old for new, old in zip(now, then, strict=True))
