"""One datagram into the state of its exporter and into the pending flows.

In: the octets of a datagram whose protocol is known, and its exporter. Out: pending sets, templates and options in force, sequence
and clock accounted for, faults noted. Refuses to know columns. Within a datagram the template in force at a set's place counts, but
options anywhere in it hold for all of its flows.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from common.config import Ingest
from ingest.blocks import RECORDS_PER_SET, measure
from ingest.choices import Choices
from ingest.elements import Element, is_known
from ingest.evictions import Evictions
from ingest.exporter_rules import ANNOUNCED
from ingest.exporters import TABLES_OF_ONE, Domain, Exporter, Exporters, Parked
from ingest.fixed_templates import FIXED
from ingest.identity import announced_by, by_exporter
from ingest.lending import Lent, may_describe
from ingest.message import Message
from ingest.optiondata import OptionRecord, read_records, teach
from ingest.options import Facts
from ingest.parking import Parking
from ingest.pending import Pending, Source
from ingest.problems import ProblemLog, Reason
from ingest.protocols import ipfix, netflow5, netflow9, sflow
from ingest.protocols.message import Fault, Header, Span
from ingest.protocols.sets import FIRST_DATA_SET, Definition, walk_sets
from ingest.templates import Template, make_template, plain_sets

OPTIONS_KEPT: Final = 4096
_SHOWN: Final = 8
WIRE: Final[dict[int, ModuleType]] = {9: netflow9, 10: ipfix}


@dataclass(slots=True)
class Intake:
    """Everything that a datagram changes; `pending` is replaced at each drain."""

    settings: Ingest
    exporters: Exporters
    parking: Parking
    pending: Pending
    log: ProblemLog
    choices: Choices
    admit: Callable[[bytes, int], Exporter]
    lent: Lent
    options: deque[OptionRecord] = field(default_factory=lambda: deque(maxlen=OPTIONS_KEPT))
    elements: dict[tuple[int, int], Element] = field(init=False)
    option_counts: Counter[int] = field(default_factory=Counter)
    evictions: Evictions = field(init=False)

    def __post_init__(self) -> None:
        self.evictions = Evictions(self.exporters, self.parking, self.log)
        self.elements = dict(self.choices.elements)

    def take_fixed(self, exporter: Exporter, version: int, payload: bytes, received_ms: int) -> None:
        """A NetFlow v1, v5 or v7 datagram."""
        header = netflow5.parse_header(payload, version)
        if isinstance(header, Fault):
            self.note(exporter, version, 0, received_ms, header)
            return
        domain = exporter.domains.get((0, version, header.domain)) or self.evictions.domain(exporter, (0, version, header.domain))
        if version != 1:
            if domain.sequence.is_repeat(payload):
                self._note_repeat(exporter, header, received_ms)
                return
            domain.sequence.advance(header.sequence, header.records, header.records)
        correction = exporter.clock.observe(received_ms, header.exported_ms or received_ms)
        template = FIXED[version]
        flows = (header.end - header.start) // template.size
        if header.end - header.start != header.records * template.size or header.end != len(payload):
            text = f"{header.records} records of {template.size} octets after the header, the datagram has {len(payload)}"
            self.note(exporter, version, header.domain, received_ms, Fault(Reason.LENGTH_MISMATCH, 2, text))
            if version != 1:
                domain.sequence.cut(header.records - flows)
        if flows:
            packet = self._add_packet(exporter, domain, header, received_ms, correction)
            self.pending.add_set(template.spec, packet, payload[header.start : header.end], flows)

    def take_templated(self, exporter: Exporter, version: int, payload: bytes, received_ms: int, session: int) -> None:
        """A NetFlow v9 or IPFIX message."""
        wire = WIRE[version]
        header = wire.parse_header(payload)
        if isinstance(header, Fault):
            self.note(exporter, version, 0, received_ms, header)
            return
        key = (session, version, header.domain)
        domain = exporter.domains.get(key) or self.evictions.domain(exporter, key)
        if session == 0 and domain.sequence.is_repeat(payload):
            self._note_repeat(exporter, header, received_ms)
            return
        correction = exporter.clock.observe(received_ms, header.exported_ms or received_ms)
        spans, faults = walk_sets(payload, header.start, header.end)
        if version == ipfix.VERSION and (fault := ipfix.check_length(payload)) is not None:
            faults.append(fault)
        hurried = not faults and not self.is_mediator(exporter)
        plain = plain_sets(domain.templates.by_id, payload, spans, received_ms) if hurried else None
        if plain is None:
            self._take_message(Message(exporter, domain, header, payload, received_ms, correction), wire, spans, faults)
            return
        packet = self._add_packet(exporter, domain, header, received_ms, correction)
        total = 0
        for spec, octets, records in plain:
            self.pending.add_set(spec, packet, octets, records)
            total += records
        domain.sequence.advance(header.sequence, 1 if version == netflow9.VERSION else total, total)

    def _take_message(self, message: Message, wire: ModuleType, spans: list[Span], faults: list[Fault]) -> None:
        for fault in faults:
            self._note(message, fault)
        for span in spans:
            if span[0] >= FIRST_DATA_SET:
                self._take_data(message, span)
            else:
                self._take_set(message, wire, span)
        self._add_sets(message)
        sequence, flows = message.domain.sequence, sum(records for _, _, records in message.sets)
        if message.header.version == netflow9.VERSION:
            sequence.advance(message.header.sequence, 1, flows)
        else:
            sequence.advance(message.header.sequence, message.data_records, flows, message.is_counted)

    def take_sflow(self, exporter: Exporter, payload: bytes, received_ms: int) -> None:
        """An sFlow v5 datagram; its samples are walked at the drain, those of all datagrams together."""
        header = sflow.parse_header(payload, received_ms)
        if isinstance(header, Fault):
            self.note(exporter, sflow.VERSION, 0, received_ms, header)
            return
        key = (0, sflow.VERSION, header.domain)
        domain = exporter.domains.get(key) or self.evictions.domain(exporter, key)
        if domain.sequence.is_repeat(payload):
            self._note_repeat(exporter, header, received_ms)
            return
        domain.sequence.advance(header.sequence, 1, 0)
        packet = self._add_packet(exporter, domain, header, received_ms, 0)
        self.pending.add_samples(
            packet, payload, header.start, min(header.records, (len(payload) - header.start) // sflow.LEAST_SAMPLE)
        )

    def note(self, exporter: Exporter, version: int, domain: int, received_ms: int, fault: Fault) -> None:
        """Count a fault and keep its place."""
        self.evictions.note(exporter, version, domain, received_ms, fault)

    def fill(self, exporter: Exporter, domain: Domain, template: Template) -> bool:
        """Bring a template that another collector has learnt into force, for data that waits here; whether it was of use.

        Only where there is none, where its records divide every waiting set (padding aside), and where it was declared since the
        exporter booted: an older one may have had another meaning.
        """
        waiting = [item for item in domain.parked if item.template_id == template.id]
        if not waiting or domain.templates.get(template.id) is not None:
            return False
        if not all(may_describe(template, item) for item in waiting):
            return False
        self.exporters.put_template(exporter, domain, template)
        for parked in self.parking.take(domain, template.id):
            exporter.replayed_sets += 1
            message = Message(exporter, domain, parked.header, b"", parked.received_ms, parked.correction_ms)
            self._replay(message, template, parked)
        return True

    def source_of(self, exporter: Exporter, domain: Domain, received_ms: int) -> int:
        """Number in this drain of what the datagrams of a domain have in common."""
        if domain.drain is not self.pending:
            domain.source = self.pending.add_source(self._source(exporter, domain, exporter))
            domain.drain, domain.used_ms = self.pending, received_ms
        return domain.source

    def is_mediator(self, exporter: Exporter) -> bool:
        """Whether flows of this exporter count as those of others, which it names."""
        rules = self.choices.rules
        return ANNOUNCED in rules.identities and rules.of(exporter.address).identity == ANNOUNCED

    def take_option_counts(self) -> Counter[int]:
        """Option records by protocol version since the last call."""
        counts, self.option_counts = self.option_counts, Counter()
        return counts

    def _note_repeat(self, exporter: Exporter, header: Header, received_ms: int) -> None:
        exporter.duplicates += 1
        text = f"sequence number {header.sequence} with the same octets came before"
        self.note(exporter, header.version, header.domain, received_ms, Fault(Reason.DUPLICATE, 0, text))

    def _take_set(self, message: Message, wire: ModuleType, span: Span) -> None:
        set_id, start, _ = span
        if set_id == wire.TEMPLATE_SET:
            self._take_templates(message, wire.read_templates(message.payload, span), options=False)
        elif set_id == wire.OPTIONS_SET:
            self._take_templates(message, wire.read_options_templates(message.payload, span), options=True)
        else:
            self._note(message, Fault(Reason.RESERVED_SET, start - 4, f"set id {set_id} is reserved", set_id))

    def _take_templates(self, message: Message, read: tuple[list[Definition], list[Fault]], options: bool) -> None:
        definitions, faults = read
        for fault in faults:
            self._note(message, fault)
        for definition in definitions:
            if definition.fields:
                self._define(message, definition)
            else:
                self._withdraw(message, definition.id, options)

    def _define(self, message: Message, definition: Definition) -> None:
        template = make_template(definition.id, definition.fields, definition.scope_count, message.received_ms)
        if template is None:
            text = f"template {definition.id}: its records would take no octets, or more than a message"
            self._note(message, Fault(Reason.TEMPLATE_MALFORMED, message.header.start, text, definition.id))
            return
        known = message.domain.templates.get(template.id)
        if known is None or known.spec != template.spec:
            self._note_unknown(message, template)
        message.domain.used_ms = message.received_ms
        pushed_out = self.exporters.put_template(message.exporter, message.domain, template)
        if pushed_out:
            text = f"{pushed_out} templates forgotten: there are more than `ingest.templates_per_exporter`"
            self._note(message, Fault(Reason.TEMPLATE_EVICTED, message.header.start, text, definition.id))
        self.evictions.keep_within(message.exporter, message.received_ms)
        for parked in self.parking.take(message.domain, definition.id):
            message.exporter.replayed_sets += 1
            self._replay(message, template, parked)

    def _note_unknown(self, message: Message, template: Template) -> None:
        """Elements that no table has are counted once per template; their octets can be kept (`keep_elements`)."""
        unknown = [f"{item.pen}.{item.id}" for item in template.fields() if not is_known(item.pen, item.id, self.elements)]
        if unknown:
            text = f"template {template.id}: no names for elements {', '.join(unknown[:_SHOWN])}"
            self._note(message, Fault(Reason.UNKNOWN_ELEMENT, message.header.start, text, template.id))

    def _withdraw(self, message: Message, number: int, options: bool) -> None:
        store = message.domain.templates
        count = int(store.remove(number)) if number >= FIRST_DATA_SET else store.remove_kind(options)
        self.exporters.remove_templates(message.exporter, message.domain, count)

    def _take_data(self, message: Message, span: Span) -> None:
        number, start, stop = span
        template = message.domain.templates.by_id.get(number)
        template = template or self._borrow(message, span)
        if template is None:
            self._park(message, span)
            return
        template.used_ms = message.received_ms
        if template.gaps:
            octets, records = self._variable_records(message, template, span)
        else:
            records = (stop - start) // template.size
            octets = message.payload[start : start + records * template.size]
        message.data_records += records
        if template.is_options:
            self._take_options(message, template, octets)
        elif records:
            message.sets.append((template.spec, octets, records))

    def _variable_records(self, message: Message, template: Template, span: Span) -> tuple[bytes, int]:
        _, start, stop = span
        octets = message.payload[start:stop]
        records, taken = measure(octets, template.gaps)
        if is_cut(template, octets, records, taken):
            text = f"template {template.id}: record {records + 1} of the set does not end before the set does"
            self._note(message, Fault(Reason.RECORD_TRUNCATED, start + taken, text, template.id))
        return octets[:taken], records

    def _borrow(self, message: Message, span: Span) -> Template | None:
        """The template that another collector has learnt, in force from now on, if there is one that fits."""
        number, start, stop = span
        exporter, domain = message.exporter, message.domain
        data = Parked(number, message.payload[start:stop], message.header, message.received_ms, message.correction_ms)
        template = self.lent.template(exporter.address, domain.key, data)
        if template is None:
            return None
        facts = self.lent.facts(exporter.address, domain.key)
        if facts is not None and domain.facts == Facts():
            domain.facts = facts
            exporter.forget_views()
        self.exporters.put_template(exporter, domain, template)
        return template

    def _park(self, message: Message, span: Span) -> None:
        message.is_counted = False
        number, start, stop = span
        text = f"waiting for template {number} of domain {message.header.domain}"
        self._note(message, Fault(Reason.TEMPLATE_MISSING, start - 4, text, number))
        octets = message.payload[start:stop]
        parked = Parked(number, octets, message.header, message.received_ms, message.correction_ms)
        if not self.parking.park(message.exporter, message.domain, parked):
            message.exporter.expired_sets += 1
            message.domain.sequence.give_up()
            text = f"data set of template {number} given up: `ingest.parked_bytes` is used up"
            self._note(message, Fault(Reason.PARKED_REFUSED, start - 4, text, number))

    def _replay(self, message: Message, template: Template, parked: Parked) -> None:
        """A parked set as a message of its own, with the header that it came with and the options of now."""
        earlier = Message(message.exporter, message.domain, parked.header, parked.octets, parked.received_ms, parked.correction_ms)
        self._take_data(earlier, (template.id, 0, len(parked.octets)))
        self._add_sets(earlier)
        if parked.header.version == ipfix.VERSION:
            message.domain.sequence.decode_late(earlier.data_records)

    def _take_options(self, message: Message, template: Template, octets: bytes) -> None:
        scope = frozenset((item.pen, item.id) for item in template.fields()[: template.scope_count])
        for values in read_records(template, octets):
            record = OptionRecord(message.exporter.address, message.received_ms, message.header, template, values)
            self.options.append(record)
            message.exporter.option_records += 1
            self.option_counts[message.header.version] += 1
            if refused := teach(self.elements, self.choices.elements, values):
                self._note(message, Fault(Reason.OPTIONS_REFUSED, message.header.start, refused, template.id))
            if not message.domain.facts.learn(values, scope, message.exporter.held < TABLES_OF_ONE):
                fault = Fault(Reason.OPTIONS_REFUSED, message.header.start, "an options table is full", template.id)
                self._note(message, fault)
        message.exporter.forget_views()
        self.exporters.account(message.exporter, message.domain)
        self.evictions.keep_within(message.exporter, message.received_ms)

    def _add_sets(self, message: Message) -> None:
        if not message.sets:
            return
        if self.is_mediator(message.exporter):
            self._add_sets_by_exporter(message)
            return
        packet = self._add_packet(message.exporter, message.domain, message.header, message.received_ms, message.correction_ms)
        for spec, octets, records in message.sets:
            self.pending.add_set(spec, packet, octets, records)

    def _add_sets_by_exporter(self, message: Message) -> None:
        announced = announced_by(message.exporter, message.domain) or message.exporter.address
        for spec, octets, records in message.sets:
            for address, part, count in by_exporter(spec, octets, records):
                owner = self.admit(self.choices.rules.identity_of(address or announced), message.received_ms)
                owner.version = message.header.version
                source = self.pending.add_source(self._source(message.exporter, message.domain, owner))
                packet = self._put_packet(source, message.domain, message.header, message.received_ms, message.correction_ms)
                self.pending.add_set(spec, packet, part, count)

    def _add_packet(self, exporter: Exporter, domain: Domain, header: Header, received_ms: int, correction_ms: int) -> int:
        return self._put_packet(self.source_of(exporter, domain, received_ms), domain, header, received_ms, correction_ms)

    def _put_packet(self, source: int, domain: Domain, header: Header, received_ms: int, correction_ms: int) -> int:
        uptime = header.uptime_ms
        if uptime < 0 and domain.facts.boot_ms is not None:
            uptime = (header.exported_ms - domain.facts.boot_ms) % (1 << 32)
        exported_ms, sequence, records = header.exported_ms or received_ms, header.sequence, header.records
        return self.pending.add_packet(source, received_ms, exported_ms, correction_ms, uptime, sequence, records, header.sampling)

    def _source(self, exporter: Exporter, domain: Domain, owner: Exporter) -> Source:
        """What holds for flows of a domain of `exporter` that count as the `owner`'s."""
        facts, settings = domain.facts, self.settings
        active = facts.active_timeout_s or settings.active_timeout_s
        configured = self.choices.rules.of(owner.address).inactive_timeout_s
        inactive = facts.inactive_timeout_s or configured or settings.inactive_timeout_s
        view = exporter.view_of(domain, settings.sampling_interval)
        return Source(
            self.pending.exporter_number(owner.address),
            owner.lane,
            domain.version,
            domain.number,
            *domain.engine,
            -1 if active is None else active * 1000,
            -1 if inactive is None else inactive * 1000,
            self.pending.view_number(view),
            self.pending.choice_number(self.choices.of(owner.address)),
        )

    def _note(self, message: Message, fault: Fault) -> None:
        self.note(message.exporter, message.header.version, message.header.domain, message.received_ms, fault)


def is_cut(template: Template, octets: bytes, records: int, taken: int) -> bool:
    """Whether what is left of a set after its whole records, of variable length, is one that does not end, or is one too many."""
    left = len(octets) - taken
    return left >= max(template.size, 4) and (records == RECORDS_PER_SET or any(octets[taken:]))
