"""NetFlow v9 (RFC 3954): header, template and options template sets.

In: the octets of a datagram. Out: its header, spans of its sets, template definitions, faults. The count in the header is not
trusted (softflowd says 1 with five sets); set lengths are. Scope types are elements of SCOPE_PEN.
"""

import struct
from typing import Final

import numpy as np

from ingest.elements import SCOPE_PEN
from ingest.problems import Reason
from ingest.protocols.message import Fault, Header, Headers, Longs, Span, make_header
from ingest.protocols.sets import FIRST_DATA_SET, SET_HEADER, Definition, are_data_sets, malformed, read_fields

VERSION: Final = 9
TEMPLATE_SET: Final = 0
OPTIONS_SET: Final = 1
_HEADER: Final = struct.Struct(">HHIIII")
_OPTIONS_HEADER: Final = struct.Struct(">HHH")


def parse_header(payload: bytes) -> Header | Fault:
    """Header of a v9 datagram (RFC 3954 section 5.1)."""
    if len(payload) < _HEADER.size:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, a NetFlow v9 header has {_HEADER.size}")
    version, count, uptime, seconds, sequence, source = _HEADER.unpack_from(payload)
    return make_header((version, count, uptime, seconds * 1000, sequence, source, _HEADER.size, len(payload), 0))


def read_headers(words: Longs, lengths: Longs) -> Headers:
    """Headers of v9 datagrams, from their first words (word, datagram); plain are those whose first set is data."""
    first, uptime, seconds, sequence, source, head = words[:6]
    end = _HEADER.size + (head & 0xFFFF)
    plain = are_data_sets(head >> 16, head & 0xFFFF, end, lengths).astype(np.int64)
    start, none = np.full(len(lengths), _HEADER.size + SET_HEADER.size), np.zeros(len(lengths), np.int64)
    return Headers(plain, first & 0xFFFF, uptime, seconds * 1000, sequence, source, start, end, none, head >> 16)


def read_templates(payload: bytes, span: Span) -> tuple[list[Definition], list[Fault]]:
    """Template records of a template set (RFC 3954 section 5.2); less than a record header at the end is padding."""
    definitions: list[Definition] = []
    _, offset, stop = span
    while offset + 4 <= stop:
        number, count = SET_HEADER.unpack_from(payload, offset)
        if number < FIRST_DATA_SET:
            return definitions, _padding_or_fault(payload, offset, stop, number)
        read = read_fields(payload, offset + 4, stop, count, enterprise=False)
        if read is None:
            return definitions, [malformed(offset, number, f"{count} fields do not fit in its set")]
        fields, offset = read
        definitions.append(Definition(number, fields, None))
    return definitions, []


def read_options_templates(payload: bytes, span: Span) -> tuple[list[Definition], list[Fault]]:
    """Options template records (RFC 3954 section 6.1); lengths there are in octets, four for each field."""
    definitions: list[Definition] = []
    _, offset, stop = span
    while offset + 6 <= stop:
        number, scope_octets, option_octets = _OPTIONS_HEADER.unpack_from(payload, offset)
        if number < FIRST_DATA_SET:
            return definitions, _padding_or_fault(payload, offset, stop, number)
        scopes = scope_octets // 4
        read = read_fields(payload, offset + 6, stop, scopes + option_octets // 4, enterprise=False)
        if read is None:
            return definitions, [malformed(offset, number, f"{scope_octets} + {option_octets} octets do not fit in its set")]
        fields, offset = read
        scoped = [field._replace(pen=SCOPE_PEN) for field in fields[:scopes]]
        definitions.append(Definition(number, scoped + fields[scopes:], scopes))
    return definitions, []


def _padding_or_fault(payload: bytes, offset: int, stop: int, number: int) -> list[Fault]:
    if any(payload[offset:stop]):
        return [malformed(offset, number, "ids below 256 are reserved")]
    return []
