"""Why does a flow belong to an application?

In: a rule book and one flow. Out: the rules that fit it, in the order in which they are asked, and for any rule the conditions that
hold and those that fail. Looks at one rule after the other: for people, not for the line. Refuses to know columns.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from columns.rules.exporters import Exporter
from columns.rules.model import Conditions, Group, Rule
from columns.rules.spans import Spans
from common.addresses import format_address


@dataclass(frozen=True, slots=True)
class End:
    """One end of a flow; the address in its canonical form as an integer."""

    address: int | None = None
    port: int | None = None

    def __str__(self) -> str:
        address = "no address" if self.address is None else format_address(self.address.to_bytes(16, "big"))
        return f"{address} {'no port' if self.port is None else f'port {self.port}'}"


@dataclass(frozen=True, slots=True)
class OneFlow:
    """What rules ask of a flow."""

    protocol: int | None = None
    source: End = End()
    destination: End = End()
    exporter: Exporter | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a rule as it is written, and whether the flow satisfies it."""

    column: str
    asked: str
    found: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.column} {self.asked}: {self.found} {'fits' if self.holds else 'does not fit'}"


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that fits a flow; `reversed` if it does so with both ends interchanged."""

    rank: int
    group: Group
    rule: Rule
    checks: tuple[Check, ...]
    reversed: bool


def matches(ranked: Sequence[tuple[Group, Rule]], flow: OneFlow) -> Iterator[Match]:
    """Every rule of `RuleBook.ranked` that fits, in its order: the first one names the application."""
    for rank, (group, rule) in enumerate(ranked):
        for reverse in range(len(rule.directions())):
            found = checks(rule, flow, bool(reverse))
            if all(check.holds for check in found):
                yield Match(rank, group, rule, found, bool(reverse))
                break


def checks(rule: Rule, flow: OneFlow, reverse: bool = False) -> tuple[Check, ...]:
    """The conditions of a rule one by one, for the flow as it is or with both ends interchanged."""
    source, destination = (flow.destination, flow.source) if reverse else (flow.source, flow.destination)
    text, asked = rule.text, rule.conditions
    protocol = "no protocol" if flow.protocol is None else str(flow.protocol)
    found = [
        (text.protocol, Check("protocol", text.protocol, protocol, asked.protocols is None or flow.protocol in asked.protocols)),
        (text.src_address, Check("srcAddress", text.src_address, str(source), _within(asked.src_addresses, source.address))),
        (text.src_port, Check("srcPort", text.src_port, str(source), _within(asked.src_ports, source.port))),
        (
            text.dst_address,
            Check("dstAddress", text.dst_address, str(destination), _within(asked.dst_addresses, destination.address)),
        ),
        (text.dst_port, Check("dstPort", text.dst_port, str(destination), _within(asked.dst_ports, destination.port))),
        (text.exporter_filter, _exporter_check(text.exporter_filter, asked, flow.exporter)),
    ]
    return tuple(check for written, check in found if written)


def parse_end(address: str | None, port: int | None) -> End:
    """One end from text; raises ValueError for what is no address."""
    if not address:
        return End(None, port)
    parsed = ipaddress.ip_address(address)
    return End(int(parsed) + ((0xFFFF << 32) if parsed.version == 4 else 0), port)


def _within(spans: Spans | None, value: int | None) -> bool:
    return spans is None or (value is not None and any(first <= value <= last for first, last in spans))


def _exporter_check(written: str, asked: Conditions, exporter: Exporter | None) -> Check:
    found = "no exporter" if exporter is None else format_address(exporter.address.to_bytes(16, "big"))
    return Check(
        "exporterFilter", written, found, asked.exporter is None or (exporter is not None and asked.exporter.fits(exporter))
    )
