"""A matcher that shares no code with the engine: one rule after the other, one flow after the other, from the text of the rules."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}


@dataclass(frozen=True)
class PlainRule:
    group: int
    position: int
    name: str
    protocol: str
    src_address: str
    src_port: str
    dst_address: str
    dst_port: str
    exporter: str
    omnidirectional: bool

    @property
    def line(self) -> str:
        fields = (self.name, self.protocol, self.src_address, self.src_port, self.dst_address, self.dst_port, self.exporter)
        return ";".join([*fields, str(self.omnidirectional).lower()])


@dataclass(frozen=True)
class PlainFlow:
    protocol: int | None
    src_address: str | None
    src_port: int | None
    dst_address: str | None
    dst_port: int | None
    exporter: str


def classify(rules: Sequence[PlainRule], flow: PlainFlow) -> str | None:
    """Name of the first rule that fits."""
    ordered = sorted(rules, key=lambda rule: (rule.group, rule.position, -_asked(rule)))
    return next((rule.name for rule in ordered if fits(rule, flow)), None)


def fits(rule: PlainRule, flow: PlainFlow) -> bool:
    source, destination = (flow.src_address, flow.src_port), (flow.dst_address, flow.dst_port)
    return _fits_ends(rule, flow, source, destination) or (rule.omnidirectional and _fits_ends(rule, flow, destination, source))


_End = tuple[str | None, int | None]


def _fits_ends(rule: PlainRule, flow: PlainFlow, source: _End, destination: _End) -> bool:
    return (
        (not rule.protocol or flow.protocol in [NUMBERS[each] for each in rule.protocol.split(",")])
        and _fits_address(rule.src_address, source[0])
        and _fits_port(rule.src_port, source[1])
        and _fits_address(rule.dst_address, destination[0])
        and _fits_port(rule.dst_port, destination[1])
        and (not rule.exporter or flow.exporter == rule.exporter.split("'")[1])
    )


def _fits_port(text: str, port: int | None) -> bool:
    if not text:
        return True
    spans = [part.split("-") for part in text.split(",")]
    return port is not None and any(int(span[0]) <= port <= int(span[-1]) for span in spans)


def _fits_address(text: str, address: str | None) -> bool:
    return not text or (address is not None and any(_fits_one(part, address) for part in text.split(",")))


def _fits_one(part: str, address: str) -> bool:
    given = ipaddress.ip_address(address)
    if "*" in part:
        parts = zip(part.split("."), address.split("."), strict=False)
        return given.version == 4 and all(wanted in ("*", found) for wanted, found in parts)
    if "/" in part:
        return given in ipaddress.ip_network(part)
    first, last = (ipaddress.ip_address(each) for each in (part.split("-") * 2)[:2])
    return given.version == first.version and int(first) <= int(given) <= int(last)


def _asked(rule: PlainRule) -> int:
    return sum(map(bool, (rule.protocol, rule.src_address, rule.src_port, rule.dst_address, rule.dst_port)))
