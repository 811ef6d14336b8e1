"""State of each exporter and of its observation domains, within bounds.

In: which exporter, session, protocol and domain a datagram is of. Out: the state that belongs to it. Refuses to know packets.
Template scope is (exporter, transport session, protocol, observation domain); a UDP source port is no part of it. Exporters and
domains that exceed their bounds push out the longest silent ones.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from flowpb.schema import ProtocolVersion
from ingest.clockoffset import ClockOffset
from ingest.options import Facts, SamplingView, make_view
from ingest.pending import Pending
from ingest.problems import Reason
from ingest.protocols.message import Header
from ingest.sequence import SequenceTracker
from ingest.templates import Template, TemplateStore

DOMAINS_PER_EXPORTER: Final = 1024
HELD_OCTETS: Final = 64 << 20
HELD_OF_ONE: Final = 16 << 20
"""About how many octets templates and options tables may take, over all exporters and of one."""
TABLES_OF_ONE: Final = HELD_OF_ONE // 2
"""Options tables stop growing here, so that they never push out templates."""
DOMAINS_BEYOND_EXPORTERS: Final = 16_384
_SECOND_CHANCES: Final = 8
_ENGINE_ID: Final = 0xFF

UNITS: Final = {5: "flows", 7: "flows", 9: "packets", 10: "records", 105: "datagrams"}
"""What a sequence number counts, by protocol version; the others have none."""


DomainKey = tuple[int, int, int]
"""Scope of templates within an exporter: transport session (0 for UDP), protocol version, observation domain."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A data set that waits for its template, with the header of the datagram that it came in."""

    template_id: int
    octets: bytes
    header: Header
    received_ms: int
    correction_ms: int


@dataclass(slots=True)
class Domain:
    """One observation domain: templates, options tables, sequence, waiting data. `held` is what was accounted for it, `used_ms`
    when it last had flows in a drain, or a template.

    `source` is its number in `drain`, as long as that is the one being gathered and no options data has changed anything.
    """

    session: int
    version: int
    number: int
    templates: TemplateStore
    sequence: SequenceTracker
    facts: Facts = field(default_factory=Facts)
    parked: list[Parked] = field(default_factory=list)
    view: SamplingView | None = None
    source: int = -1
    drain: Pending | None = None
    used_ms: int = 0
    held: int = 0

    @property
    def key(self) -> DomainKey:
        """Its place among the domains of its exporter."""
        return self.session, self.version, self.number

    @property
    def engine(self) -> tuple[int, int]:
        """Type and id of the engine, -1 where it is not said: NetFlow v5 makes the domain of both, an sFlow sub-agent is one."""
        if self.version == ProtocolVersion.NETFLOW_V5:
            return self.number >> 8, self.number & _ENGINE_ID
        return -1, self.number if self.version == ProtocolVersion.SFLOW_V5 and self.number <= _ENGINE_ID else -1


@dataclass(slots=True)
class Exporter:
    """One exporter; the counts are since its last report. `described` are the domains whose options data holds for flows."""

    address: bytes
    lane: int
    since_ms: int
    last_ms: int
    version: int = 0
    clock: ClockOffset = field(default_factory=ClockOffset)
    domains: dict[DomainKey, Domain] = field(default_factory=dict)
    problems: Counter[Reason] = field(default_factory=Counter)
    template_count: int = 0
    held: int = 0
    parked_octets: int = 0
    described: list[Domain] = field(default_factory=list)
    datagrams: int = 0
    duplicates: int = 0
    records: int = 0
    option_records: int = 0
    replayed_sets: int = 0
    expired_sets: int = 0

    def view_of(self, domain: Domain, configured: int | None) -> SamplingView:
        """The sampling that holds for flows of a domain; made anew after options data has changed it."""
        if domain.view is None:
            others = (other.facts for other in self.described if other is not domain)
            domain.view = make_view(domain.facts, others, configured)
        return domain.view

    def forget_views(self) -> None:
        """Options data of one domain can hold for others."""
        for domain in self.domains.values():
            domain.view = domain.drain = None
        self.described = [domain for domain in self.domains.values() if domain.facts.describe_flows]


@dataclass(slots=True)
class Exporters:
    """All exporters with state, longest known first."""

    limit: int
    templates_limit: int
    by_address: dict[bytes, Exporter] = field(default_factory=dict)
    held: int = 0
    domain_count: int = 0

    def get(self, address: bytes) -> Exporter | None:
        """State of an exporter, if there is any."""
        return self.by_address.get(address)

    def admit(self, address: bytes, lane: int, now_ms: int) -> tuple[Exporter, Exporter | None]:
        """State for a new exporter, and the one that was pushed out for it."""
        pushed_out = None
        if len(self.by_address) >= self.limit:
            pushed_out = self._longest_silent()
            self.drop(pushed_out)
        exporter = self.by_address[address] = Exporter(address, lane, now_ms, now_ms)
        return exporter, pushed_out

    def drop(self, exporter: Exporter) -> None:
        """Forget an exporter with everything that it sent."""
        del self.by_address[exporter.address]
        self.held -= exporter.held
        self.domain_count -= len(exporter.domains)

    def domain(self, exporter: Exporter, key: DomainKey) -> tuple[Domain, Domain | None]:
        """A domain of an exporter, new if need be, and the one that was pushed out for it."""
        domain = exporter.domains.get(key)
        if domain is not None:
            return domain, None
        pushed_out = None
        crowded = self.domain_count >= self.limit + DOMAINS_BEYOND_EXPORTERS
        if exporter.domains and (crowded or len(exporter.domains) >= DOMAINS_PER_EXPORTER):
            pushed_out = _longest_unused(exporter.domains)
            self.drop_domain(exporter, pushed_out)
        tracker = SequenceTracker(UNITS.get(key[1], ""))
        domain = exporter.domains[key] = Domain(*key, TemplateStore(self.templates_limit), tracker, used_ms=exporter.last_ms)
        self.domain_count += 1
        return domain, pushed_out

    def drop_domain(self, exporter: Exporter, domain: Domain) -> None:
        """Forget a domain: it was pushed out, or its transport session ended."""
        del exporter.domains[domain.key]
        self.domain_count -= 1
        exporter.template_count -= len(domain.templates)
        exporter.held -= domain.held
        self.held -= domain.held
        if domain.facts.describe_flows:
            exporter.forget_views()

    def put_template(self, exporter: Exporter, domain: Domain, template: Template) -> int:
        """Bring a template into force; how many others were pushed out by the bounds."""
        exporter.template_count -= len(domain.templates)
        pushed_out = domain.templates.put(template)
        exporter.template_count += len(domain.templates)
        self.account(exporter, domain)
        while exporter.template_count > self.templates_limit or (exporter.held > HELD_OF_ONE and exporter.template_count > 1):
            largest = max(exporter.domains.values(), key=lambda item: item.templates.octets)
            largest.templates.push_out()
            exporter.template_count -= 1
            pushed_out += 1
            self.account(exporter, largest)
        return pushed_out

    def account(self, exporter: Exporter, domain: Domain) -> None:
        """Bring what is held up to date after a domain's templates or tables have changed."""
        held = domain.templates.octets + domain.facts.weight
        exporter.held += held - domain.held
        self.held += held - domain.held
        domain.held = held

    def remove_templates(self, exporter: Exporter, domain: Domain, count: int) -> None:
        """Account for templates that were taken from a domain's store."""
        exporter.template_count -= count
        self.account(exporter, domain)

    def excess(self, keep: Exporter) -> Exporter | None:
        """Another exporter that has to go, since everything together takes too much."""
        if self.held <= HELD_OCTETS:
            return None
        silent = self._longest_silent()
        return None if silent is keep else silent

    def __iter__(self) -> Iterator[Exporter]:
        return iter(self.by_address.values())

    def __len__(self) -> int:
        return len(self.by_address)

    def _longest_silent(self) -> Exporter:
        candidates = [item for item, _ in zip(self.by_address.values(), range(_SECOND_CHANCES), strict=False)]
        silent = min(candidates, key=lambda item: item.last_ms)
        for item in candidates:
            if item is not silent:
                self.by_address[item.address] = self.by_address.pop(item.address)
        return silent


def _longest_unused(domains: dict[DomainKey, Domain]) -> Domain:
    candidates = [item for item, _ in zip(domains.values(), range(_SECOND_CHANCES), strict=False)]
    unused = min(candidates, key=lambda item: item.used_ms)
    for item in candidates:
        if item is not unused:
            domains[item.key] = domains.pop(item.key)
    return unused
