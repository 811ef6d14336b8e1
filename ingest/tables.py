"""Templates, samplers, names and option records as plain rows, for `nephrite decode --templates` and `--options` and for the API.

In: the state of exporters. Out: frozen rows. Refuses to know how they are shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from ingest.elements import Element, element_of
from ingest.elementvalues import Value, value_of
from ingest.exporters import Domain, Exporter, Exporters
from ingest.optiondata import OptionRecord
from ingest.options import Sampler

Elements = dict[tuple[int, int], Element]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of a template; length 65535 is variable."""

    pen: int
    id: int
    length: int
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """One template in force; `kind` is data or options, the first `scope_count` fields are its scope."""

    exporter: bytes
    session: int
    protocol_version: int
    domain: int
    template_id: int
    kind: str
    scope_count: int
    fields: tuple[FieldRow, ...]
    declared_ms: int
    used_ms: int


@dataclass(frozen=True, slots=True)
class SamplerRow:
    """One sampler; `scope` is domain, sampler, interface or exporter, `scope_id` its number, or its address."""

    exporter: bytes
    protocol_version: int
    domain: int
    scope: str
    scope_id: int | str
    interval: float
    algorithm: int


@dataclass(frozen=True, slots=True)
class NameRow:
    """One name; `kind` is interface, application, vrf, observation_domain or exporter (then the name is its address).

    `id` is the number of what is named, as text; of an application its octets in hexadecimal.
    """

    exporter: bytes
    domain: int
    kind: str
    id: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class ValueRow:
    """One value of an option record: the octets that came, and what they mean by the element's type."""

    pen: int
    id: int
    name: str
    type: str
    octets: bytes
    value: Value


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option record."""

    exporter: bytes
    received_ms: int
    protocol_version: int
    domain: int
    template_id: int
    values: tuple[ValueRow, ...]


def template_rows(exporters: Exporters, added: Elements) -> list[TemplateRow]:
    """All templates in force."""
    return [
        TemplateRow(
            exporter.address,
            domain.session,
            domain.version,
            domain.number,
            template.id,
            "options" if template.is_options else "data",
            template.scope_count,
            tuple(_field(pen, number, length, added) for pen, number, length in template.fields()),
            template.declared_ms,
            template.used_ms,
        )
        for exporter, domain in _domains(exporters)
        for template in domain.templates
    ]


def sampler_rows(exporters: Exporters) -> list[SamplerRow]:
    """All samplers that exporters have described."""
    return [
        SamplerRow(exporter.address, domain.version, domain.number, scope, number, *sampler)
        for exporter, domain in _domains(exporters)
        for scope, number, sampler in _samplers(domain)
    ]


def name_rows(exporters: Exporters) -> list[NameRow]:
    """All names that exporters have sent."""
    return [
        NameRow(exporter.address, domain.number, kind, number, name, description)
        for exporter, domain in _domains(exporters)
        for kind, number, name, description in _names(domain)
    ]


def option_rows(records: Iterable[OptionRecord], added: Elements) -> list[OptionRow]:
    """Option records with the names of their elements."""
    return [
        OptionRow(
            record.exporter,
            record.received_ms,
            record.header.version,
            record.header.domain,
            record.template.id,
            tuple(_value(pen, number, octets, added) for (pen, number), octets in record.values.items()),
        )
        for record in records
    ]


def _domains(exporters: Exporters) -> Iterable[tuple[Exporter, Domain]]:
    return ((exporter, domain) for exporter in exporters for domain in exporter.domains.values())


def _field(pen: int, number: int, length: int, added: Elements) -> FieldRow:
    element = element_of(pen, number, added)
    return FieldRow(pen, number, length, element.name, element.type)


def _value(pen: int, number: int, octets: bytes, added: Elements) -> ValueRow:
    element = element_of(pen, number, added)
    return ValueRow(pen, number, element.name, element.type, octets, value_of(element, octets))


def _samplers(domain: Domain) -> list[tuple[str, int | str, Sampler]]:
    facts = domain.facts
    rows: list[tuple[str, int | str, Sampler]] = [] if facts.default is None else [("domain", 0, facts.default)]
    rows += [("sampler", number, sampler) for number, sampler in facts.by_id.items()]
    rows += [("interface", number, sampler) for number, sampler in facts.by_interface.items()]
    return rows + [("exporter", str(ip_address(address)), sampler) for address, sampler in facts.by_exporter.items()]


def _names(domain: Domain) -> list[tuple[str, str, str, str]]:
    facts = domain.facts
    rows = [("interface", str(number), fact.name, fact.description) for number, fact in facts.interfaces.items()]
    rows += [("application", number.hex(), fact.name, fact.description) for number, fact in facts.applications.items()]
    rows += [("vrf", str(number), name, "") for number, name in facts.vrfs.items()]
    return rows + [(kind, str(domain.number), name, "") for kind, name in facts.names.items()]
