"""Templates and options tables of other collectors, lent until an exporter says its own.

In: snapshots that are shared, and data without a template. Out: the template that fits it, if there is one. What is lent is never
in force by itself: each template is judged by the first data that needs it. Refuses to know where snapshots come from.
"""

from typing import Final

from ingest import snapshots
from ingest.exporters import DomainKey, Parked
from ingest.options import Facts
from ingest.templates import Template

_ALIGNMENT: Final = 4
"""Sets are padded to a multiple of so many octets (RFC 7011 section 3.3.1)."""


class Lent:
    """What others have learnt, by exporter and domain; of snapshots of one exporter a later one counts."""

    def __init__(self, exporters: int) -> None:
        self._limit = exporters
        self._domains: dict[tuple[bytes, DomainKey], tuple[dict[int, Template], Facts]] = {}

    def add(self, data: bytes) -> None:
        """Take a snapshot in; raises InputError if it is none."""
        for item in snapshots.load(data):
            for key, templates, facts in item.domains:
                if len(self._domains) < self._limit or (item.address, key) in self._domains:
                    held, _ = self._domains.get((item.address, key), ({}, facts))
                    self._domains[item.address, key] = held | {template.id: template for template in templates}, facts

    def template(self, exporter: bytes, domain: DomainKey, data: Parked) -> Template | None:
        """The template for this data, once; one that cannot describe it stays here."""
        templates, _ = self._domains.get((exporter, domain), ({}, None))
        template = templates.get(data.template_id)
        if template is None or not may_describe(template, data):
            return None
        return templates.pop(data.template_id)

    def facts(self, exporter: bytes, domain: DomainKey) -> Facts | None:
        """Options tables of a domain."""
        _, facts = self._domains.get((exporter, domain), ({}, None))
        return facts


def may_describe(template: Template, data: Parked) -> bool:
    """Whether another's template can be of this data: its records divide the set, and it was declared after the exporter booted."""
    header = data.header
    booted_ms = header.exported_ms - header.uptime_ms + data.correction_ms if header.uptime_ms >= 0 else 0
    fits = bool(template.gaps) or len(data.octets) % template.size < _ALIGNMENT
    return fits and template.declared_ms >= booted_ms
