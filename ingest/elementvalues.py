"""Values of information elements by abstract data type (RFC 7011 section 6, RFC 6313): octets in, something to show out.

In: an element and its octets, of full or reduced size. Out: a number, text, or a list. Octets that do not fit their type are shown
as hexadecimal, never refused. Refuses to know columns: those are read a column at a time, in `columns_of_elements`.
"""

import ipaddress
import struct
from collections.abc import Callable
from typing import Final

from ingest.elements import Element, element_of
from ingest.templates import VARIABLE

Value = int | float | str | bool | list["Value"]
_NTP_TO_UNIX_SECONDS: Final = 2_208_988_800
_NTP_ERA_SECONDS: Final = 1 << 32
_BELOW_A_MICROSECOND: Final = 0x7FF
"""Bits of a dateTimeMicroseconds that mean nothing (RFC 7011 section 6.1.9)."""
_LIST_SEMANTICS: Final = {0: "noneOf", 1: "exactlyOneOf", 2: "oneOrMoreOf", 3: "allOf", 4: "ordered"}
_LONG_FORM: Final = 255
_MAX_DEPTH: Final = 4


def value_of(element: Element, octets: bytes, depth: int = 0) -> Value:
    """The value of an element. A list is its semantic followed by its values, a sub-template list by the ids of its templates."""
    if element.type == "basicList":
        return _basic_list(octets, depth)
    if element.type in ("subTemplateList", "subTemplateMultiList"):
        return _template_list(octets, element.type)
    read = _READERS.get(element.type)
    value = read(octets) if read is not None else None
    return octets.hex() if value is None else value


def _unsigned(octets: bytes) -> Value | None:
    return int.from_bytes(octets)


def _signed(octets: bytes) -> Value | None:
    return int.from_bytes(octets, signed=True)


def _float(octets: bytes) -> Value | None:
    layout = {4: ">f", 8: ">d"}.get(len(octets))
    if layout is None:
        return None
    (value,) = struct.unpack(layout, octets)
    return float(value)


def _boolean(octets: bytes) -> Value | None:
    return {b"\x01": True, b"\x02": False}.get(octets)


def _string(octets: bytes) -> Value | None:
    return octets.rstrip(b"\0").decode("utf-8", "replace")


def _mac(octets: bytes) -> Value | None:
    return octets.hex(":") if len(octets) == 6 else None


def _ip(size: int) -> Callable[[bytes], Value | None]:
    return lambda octets: str(ipaddress.ip_address(octets)) if len(octets) == size else None


def _ntp(octets: bytes) -> Value | None:
    """Seconds since 1970 with their fraction; RFC 7011 section 6.1.9."""
    if len(octets) != 8:
        return None
    seconds, fraction = struct.unpack(">II", octets)
    era = _NTP_ERA_SECONDS if seconds < _NTP_ERA_SECONDS >> 1 else 0
    return float(seconds + era - _NTP_TO_UNIX_SECONDS + fraction / (1 << 32))


_READERS: Final[dict[str, Callable[[bytes], Value | None]]] = {
    **dict.fromkeys(("unsigned8", "unsigned16", "unsigned32", "unsigned64", "unsigned256"), _unsigned),
    **dict.fromkeys(("signed8", "signed16", "signed32", "signed64"), _signed),
    **dict.fromkeys(("float32", "float64"), _float),
    **dict.fromkeys(("dateTimeSeconds", "dateTimeMilliseconds"), _unsigned),
    "dateTimeMicroseconds": lambda octets: _ntp((int.from_bytes(octets) & ~_BELOW_A_MICROSECOND).to_bytes(len(octets))),
    "dateTimeNanoseconds": _ntp,
    "boolean": _boolean,
    "string": _string,
    "macAddress": _mac,
    "ipv4Address": _ip(4),
    "ipv6Address": _ip(16),
}


def unsigned_list(octets: bytes) -> list[int]:
    """The values of a basicList of unsigned integers of at most four octets; what is cut or larger is left out."""
    listed = _open_list(octets)
    values, _ = _items(octets, *listed[3:]) if listed is not None else ([], b"")
    return [int.from_bytes(value) for value in values if len(value) <= 4]


def _basic_list(octets: bytes, depth: int) -> Value:
    listed = _open_list(octets)
    if listed is None or depth >= _MAX_DEPTH:
        return octets.hex()
    semantic, pen, number, length, offset = listed
    element = element_of(pen, number)
    items, rest = _items(octets, length, offset)
    values: list[Value] = [_LIST_SEMANTICS.get(semantic, "undefined"), element.name]
    values += [value_of(element, item, depth + 1) for item in items]
    return [*values, rest.hex()] if rest else values


def _open_list(octets: bytes) -> tuple[int, int, int, int, int] | None:
    """RFC 6313 section 4.5.1: semantic, enterprise, element and length of its values, and where they start."""
    if len(octets) < 5:
        return None
    semantic, number, length = struct.unpack_from(">BHH", octets)
    if number & 0x8000:
        return semantic, int.from_bytes(octets[5:9]), number & 0x7FFF, length, 9
    return semantic, 0, number, length, 5


def _items(octets: bytes, length: int, offset: int) -> tuple[list[bytes], bytes]:
    """The values of a list, and what is left of one that is cut."""
    items: list[bytes] = []
    while offset < len(octets) and length:
        size = length
        if length == VARIABLE:
            size, offset = octets[offset], offset + 1
            if size == _LONG_FORM:
                size, offset = int.from_bytes(octets[offset : offset + 2]), offset + 2
        if offset + size > len(octets):
            return items, octets[offset:]
        items.append(octets[offset : offset + size])
        offset += size
    return items, b""


def _template_list(octets: bytes, kind: str) -> Value:
    """RFC 6313 sections 4.5.2 and 4.5.3: semantic, then one template id with its records, or several with their lengths."""
    if not octets:
        return ""
    values: list[Value] = [_LIST_SEMANTICS.get(octets[0], "undefined")]
    if kind == "subTemplateList":
        return [*values, int.from_bytes(octets[1:3]), octets[3:].hex()]
    offset = 1
    while offset + 4 <= len(octets):
        number, length = struct.unpack_from(">HH", octets, offset)
        values += [number, octets[offset + 4 : offset + length].hex()]
        offset += max(length, 4)
    return values
