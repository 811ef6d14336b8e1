"""Sets of integers as sorted spans, and the texts that they are written as in a rule: ports and addresses.

In: one field of a rule. Out: spans (first, last), both included, sorted, none touching the next. Refuses to know rules. A text
that cannot be understood raises ValueError with one sentence that quotes the part at fault.
"""

import ipaddress
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

Span = tuple[int, int]
Spans = tuple[Span, ...]

LAST_PORT: Final = 65_535
LAST_ADDRESS: Final = (1 << 128) - 1
_IPV4: Final = 0xFFFF << 32
_LAST_IPV4: Final = _IPV4 + 0xFFFF_FFFF
_MOST_SPANS: Final = 65_536


@dataclass(frozen=True, slots=True)
class IpLike:
    """A pattern over the parts of an address, as in 10.1-3.*.7,9: allowed values per part, the first part first."""

    parts: tuple[Spans, ...]

    @property
    def part_bits(self) -> int:
        """8 for IPv4, 16 for IPv6."""
        return 8 if len(self.parts) == 4 else 16

    def matches(self, address: int) -> bool:
        """Whether a canonical address (128 bits, IPv4 mapped) fits."""
        if len(self.parts) == 4:
            if address >> 32 != 0xFFFF:
                return False
            address &= 0xFFFF_FFFF
        top = (1 << self.part_bits) - 1
        return all(
            any(first <= address >> shift & top <= last for first, last in allowed)
            for allowed, shift in zip(self.parts, self._shifts(), strict=True)
        )

    def spans(self) -> Spans:
        """The canonical addresses that fit; raises ValueError if they are scattered over more than 65,536 spans."""
        full = ((0, (1 << self.part_bits) - 1),)
        kept = max((place + 1 for place, allowed in enumerate(self.parts) if allowed != full), default=1)
        *leading, last = self.parts[:kept]
        if math.prod(sum(b - a + 1 for a, b in allowed) for allowed in leading) * len(last) > _MOST_SPANS:
            raise ValueError(f"pattern covers more than {_MOST_SPANS} separate ranges; write networks or ranges instead")
        shifts = self._shifts()[:kept]
        ends = (1 << shifts[-1]) - 1
        offset = _IPV4 if len(self.parts) == 4 else 0
        values = itertools.product(*([value for a, b in allowed for value in range(a, b + 1)] for allowed in leading))
        heads = [offset + sum(value << shift for value, shift in zip(each, shifts, strict=False)) for each in values]
        return merged((head + (a << shifts[-1]), head + (b << shifts[-1]) + ends) for head in heads for a, b in last)

    def _shifts(self) -> Sequence[int]:
        return range(self.part_bits * (len(self.parts) - 1), -1, -self.part_bits)


def merged(spans: Iterable[Span]) -> Spans:
    """The same integers as sorted spans that neither overlap nor touch."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def without_ipv4(first: int, last: int) -> Spans:
    """The span without the mapped IPv4 addresses if it goes beyond them: ::/0 means every IPv6 address."""
    if first < _IPV4 <= last or first <= _LAST_IPV4 < last:
        return tuple((a, b) for a, b in ((first, min(last, _IPV4 - 1)), (max(first, _LAST_IPV4 + 1), last)) if a <= b)
    return ((first, last),)


def parse_ports(text: str) -> Spans:
    """Ports in a list such as 80,8000-8080. 65536, which OpenNMS takes as a port, is accepted and fits no flow."""
    spans = [_parse_span(part.strip(), LAST_PORT + 1, "port") for part in text.split(",")]
    return merged((first, min(last, LAST_PORT)) for first, last in spans if first <= LAST_PORT)


def parse_addresses(text: str) -> Spans:
    """Addresses in a list of single ones, ranges a-b, networks in CIDR form, and patterns such as 10.*.1-3.*."""
    return merged(span for part in text.split(",") for span in _parse_address(part.strip()))


def parse_iplike(text: str) -> IpLike:
    """A pattern of four decimal or eight hexadecimal parts, each a list of values and ranges, or an asterisk."""
    separator, count, radix, top = (":", 8, 16, 0xFFFF) if ":" in text else (".", 4, 10, 0xFF)
    parts = text.split(separator)
    if len(parts) != count:
        raise ValueError(f"'{text}' is no address, range, network or pattern")
    return IpLike(tuple(_parse_part(part.strip(), radix, top) for part in parts))


def _parse_part(text: str, radix: int, top: int) -> Spans:
    if text == "*":
        return ((0, top),)
    return merged(_parse_span(each.strip(), top, "part of an address", radix) for each in text.split(","))


def _parse_span(text: str, top: int, what: str, radix: int = 10) -> Span:
    head, dash, tail = text.partition("-")
    try:
        first, last = int(head, radix), int(tail if dash else head, radix)
    except ValueError:
        raise ValueError(f"'{text}' is no {what}") from None
    if not 0 <= first <= last <= top:
        raise ValueError(f"'{text}' is no {what} or range in 0-{top:{'x' if radix == 16 else 'd'}}")
    return first, last


def _parse_address(text: str) -> Spans:
    if "/" in text:
        return without_ipv4(*_parse_network(text))
    first, dash, last = text.partition("-")
    try:
        span = _canonical(first.strip()), _canonical(last.strip() if dash else first.strip())
    except ValueError:
        return parse_iplike(text).spans()
    if span[0] > span[1] or (span[0] >> 32 == 0xFFFF) != (span[1] >> 32 == 0xFFFF):
        raise ValueError(f"'{text}' ends before it begins, or mixes IPv4 and IPv6")
    return without_ipv4(*span)


def _parse_network(text: str) -> Span:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"'{text}' is no network: {error}") from None
    shift = _IPV4 if network.version == 4 else 0
    return int(network.network_address) + shift, int(network.broadcast_address) + shift


def _canonical(text: str) -> int:
    address = ipaddress.ip_address(text)
    return int(address) + (_IPV4 if address.version == 4 else 0)
