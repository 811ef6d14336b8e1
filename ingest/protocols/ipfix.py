"""IPFIX (RFC 7011): message header, template and options template sets, and cutting a byte stream into messages.

In: the octets of a datagram or stream. Out: header, template definitions, faults. The message length bounds the sets; where a set
reaches beyond it but not beyond the datagram, the set is believed (a capture of telegraf issue 14370 is 2 octets short).
"""

import struct
from typing import Final

import numpy as np

from ingest.problems import Reason
from ingest.protocols.message import Fault, Header, Headers, Longs, Span, make_header
from ingest.protocols.sets import FIRST_DATA_SET, SET_HEADER, Definition, are_data_sets, malformed, read_fields

VERSION: Final = 10
TEMPLATE_SET: Final = 2
OPTIONS_SET: Final = 3
HEADER: Final = struct.Struct(">HHIII")
_OPTIONS_HEADER: Final = struct.Struct(">HHH")


def parse_header(payload: bytes) -> Header | Fault:
    """Header of an IPFIX message (RFC 7011 section 3.1); `records` is -1, since it has none."""
    if len(payload) < HEADER.size:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, an IPFIX header has {HEADER.size}")
    version, length, seconds, sequence, domain = HEADER.unpack_from(payload)
    end = min(length, len(payload))
    return make_header((version, -1, -1, seconds * 1000, sequence, domain, HEADER.size, end, 0))


def read_headers(words: Longs, lengths: Longs) -> Headers:
    """Headers of IPFIX messages, from their first words (word, message); plain: of right length, and the first set is data."""
    first, seconds, sequence, domain, head = words[:5]
    end = HEADER.size + (head & 0xFFFF)
    is_data = are_data_sets(head >> 16, head & 0xFFFF, end, lengths)
    plain = (is_data & (first & 0xFFFF == lengths)).astype(np.int64)
    start, none = np.full(len(lengths), HEADER.size + SET_HEADER.size), np.zeros(len(lengths), np.int64)
    return Headers(plain, none - 1, none - 1, seconds * 1000, sequence, domain, start, end, none, head >> 16)


def check_length(payload: bytes) -> Fault | None:
    """The fault of a message whose length is not that of its datagram."""
    (length,) = struct.unpack_from(">H", payload, 2)
    if length == len(payload):
        return None
    return Fault(Reason.LENGTH_MISMATCH, 2, f"message says {length} octets, the datagram has {len(payload)}")


def read_templates(payload: bytes, span: Span) -> tuple[list[Definition], list[Fault]]:
    """Template records and withdrawals of a template set (RFC 7011 sections 3.4.1 and 8.1)."""
    definitions: list[Definition] = []
    _, offset, stop = span
    while offset + 4 <= stop:
        number, count = SET_HEADER.unpack_from(payload, offset)
        if number < FIRST_DATA_SET and not (number == TEMPLATE_SET and count == 0):
            return definitions, _padding_or_fault(payload, offset, stop, number)
        read = read_fields(payload, offset + 4, stop, count, enterprise=True)
        if read is None:
            return definitions, [malformed(offset, number, f"{count} fields do not fit in its set")]
        fields, offset = read
        definitions.append(Definition(number, fields, None))
    return definitions, []


def read_options_templates(payload: bytes, span: Span) -> tuple[list[Definition], list[Fault]]:
    """Options template records and withdrawals (RFC 7011 section 3.4.2.2): a scope field count must not be zero."""
    definitions: list[Definition] = []
    _, offset, stop = span
    while offset + 4 <= stop:
        number, count = SET_HEADER.unpack_from(payload, offset)
        if count == 0 and (number >= FIRST_DATA_SET or number == OPTIONS_SET):
            definitions.append(Definition(number, [], 0))
            offset += 4
            continue
        if number < FIRST_DATA_SET or offset + 6 > stop:
            return definitions, _padding_or_fault(payload, offset, stop, number)
        _, _, scopes = _OPTIONS_HEADER.unpack_from(payload, offset)
        read = read_fields(payload, offset + 6, stop, count, enterprise=True)
        if read is None or not 0 < scopes <= count:
            return definitions, [malformed(offset, number, f"{count} fields, {scopes} of scope, do not fit in its set")]
        fields, offset = read
        definitions.append(Definition(number, fields, scopes))
    return definitions, []


def split_stream(buffer: bytes) -> tuple[list[bytes], bytes, Fault | None]:
    """Whole messages of a TCP stream, the octets left over, and the fault after which the stream is of no use."""
    messages: list[bytes] = []
    offset = 0
    while offset + 4 <= len(buffer):
        version, length = SET_HEADER.unpack_from(buffer, offset)
        if version != VERSION or length < HEADER.size:
            fault = Fault(Reason.UNKNOWN_PROTOCOL, offset, f"no IPFIX message in the stream: version {version}, {length} octets")
            return messages, b"", fault
        if offset + length > len(buffer):
            break
        messages.append(bytes(buffer[offset : offset + length]))
        offset += length
    return messages, bytes(buffer[offset:]), None


def _padding_or_fault(payload: bytes, offset: int, stop: int, number: int) -> list[Fault]:
    if any(payload[offset:stop]):
        return [malformed(offset, number, "ids below 256 are reserved")]
    return []
