"""Data that came before its template: kept within bounds, given back when the template comes, counted when it never does.

In: sets with the header of their datagram. Out: the sets of a template, or how many were given up. Refuses to know templates.
Bounds: octets over all exporters, an eighth of them for one exporter, and time.
"""

from dataclasses import dataclass, field
from typing import Final

from ingest.exporters import Domain, Exporter, Parked

_OVERHEAD: Final = 256
_SHARE_OF_ONE: Final = 8


@dataclass(slots=True)
class Parking:
    """All waiting sets; `limit_octets` counts their octets with what it takes to keep them."""

    limit_octets: int
    keep_ms: int
    octets: int = 0
    waiting: dict[int, tuple[Exporter, Domain]] = field(default_factory=dict)

    def park(self, exporter: Exporter, domain: Domain, parked: Parked) -> bool:
        """Keep a set; False if a bound refuses it."""
        size = len(parked.octets) + _OVERHEAD
        if self.octets + size > self.limit_octets or exporter.parked_octets + size > max(self.limit_octets // _SHARE_OF_ONE, size):
            return False
        domain.parked.append(parked)
        self.octets += size
        exporter.parked_octets += size
        self.waiting[id(domain)] = exporter, domain
        return True

    def take(self, domain: Domain, template_id: int) -> list[Parked]:
        """The sets that wait for this template, oldest first."""
        if not domain.parked:
            return []
        ready = [item for item in domain.parked if item.template_id == template_id]
        if ready:
            self._keep(domain, [item for item in domain.parked if item.template_id != template_id])
        return ready

    def forget(self, domain: Domain) -> int:
        """Give up everything of a domain; how many sets."""
        given_up = len(domain.parked)
        self._keep(domain, [])
        return given_up

    def expire(self, now_ms: int) -> list[tuple[Exporter, Domain, int]]:
        """Give up what has waited too long; how many sets of which domain."""
        expired = []
        for exporter, domain in list(self.waiting.values()):
            kept = [item for item in domain.parked if now_ms - item.received_ms <= self.keep_ms]
            if len(kept) < len(domain.parked):
                expired.append((exporter, domain, len(domain.parked) - len(kept)))
                self._keep(domain, kept)
        return expired

    def _keep(self, domain: Domain, kept: list[Parked]) -> None:
        if not domain.parked:
            return
        exporter, _ = self.waiting[id(domain)]
        released = _size(domain.parked) - _size(kept)
        self.octets -= released
        exporter.parked_octets -= released
        domain.parked = kept
        if not kept:
            self.waiting.pop(id(domain), None)


def _size(sets: list[Parked]) -> int:
    return sum(len(item.octets) + _OVERHEAD for item in sets)
