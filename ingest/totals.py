"""Counters that grow from report to report, made into what came since the last one.

In: total counters (elements 85, 86) of exporters that send no others, and the counters of Cisco ASA events, with the key of their
flow. Out: differences. Keeps the last report of each flow, bounded: the oldest go first. Refuses to know columns.
An ASA update carries what came since the one before, and the teardown the whole again (NSEL guide, "Flow Update Events").
"""

from dataclasses import dataclass, field
from typing import Final

FLOWS_KEPT: Final = 65_536
_ACTIVE_TIMEOUT: Final = 2
DELETED: Final = 2
UPDATED: Final = 5
Counters = tuple[int, ...]


@dataclass(slots=True)
class Totals:
    """Last reports by flow."""

    reported: dict[bytes, Counters] = field(default_factory=dict)

    def since_last(self, key: bytes, totals: Counters, end_reason: int) -> Counters:
        """What came since the last report; smaller totals than before begin anew. A flow that ended is forgotten."""
        before = self.reported.get(key)
        if before is not None and all(now >= then for now, then in zip(totals, before, strict=True)):
            result = tuple(now - then for now, then in zip(totals, before, strict=True))
        else:
            result = totals
        if end_reason not in (0, _ACTIVE_TIMEOUT):
            self.reported.pop(key, None)
        else:
            self._keep(key, totals)
        return result

    def of_event(self, key: bytes, counters: Counters, event: int) -> Counters:
        """What a firewall event adds to the ones before it."""
        if event == UPDATED:
            before = self.reported.get(key, (0,) * len(counters))
            self._keep(key, tuple(now + then for now, then in zip(counters, before, strict=True)))
            return counters
        if event == DELETED and (updates := self.reported.pop(key, None)) is not None:
            return tuple(max(0, now - then) for now, then in zip(counters, updates, strict=True))
        return counters

    def _keep(self, key: bytes, totals: Counters) -> None:
        self.reported.pop(key, None)
        self.reported[key] = totals
        if len(self.reported) > FLOWS_KEPT:
            del self.reported[next(iter(self.reported))]
