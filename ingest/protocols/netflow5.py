"""NetFlow v1, v5 and v7: fixed records, so each is a template that needs not be sent.

In: the octets of a datagram. Out: its header, and the field specifiers of its records. The v5 sampling word is two bits of mode and
14 bits of interval; the interval alone counts. Record layouts: Cisco, "NetFlow Export Datagram Format", tables B-3 to B-6.
"""

import struct
from typing import Final

import numpy as np

from ingest.problems import Reason
from ingest.protocols.message import Fault, Header, Headers, Longs, make_header
from ingest.templates import Field

_HEADER_1: Final = struct.Struct(">HHIII")
_HEADER_5: Final = struct.Struct(">HHIIIIBBH")
_HEADER_7: Final = struct.Struct(">HHIIIII")
_HEADERS: Final = {1: _HEADER_1, 5: _HEADER_5, 7: _HEADER_7}
_PADDING: Final = 210
_DIRECTION: Final = 61
"""The last octet of a v5 record is padding; some exporters say in its highest bit that a flow leaves."""


def _fields(*pairs: tuple[int, int]) -> list[Field]:
    return [Field(0, number, length) for number, length in pairs]


_COMMON: Final = ((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2))
_ROUTING: Final = ((4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1))
FIELDS: Final[dict[int, list[Field]]] = {
    1: _fields(*_COMMON, (_PADDING, 2), (4, 1), (5, 1), (6, 1), (_PADDING, 11)),
    5: _fields(*_COMMON, (_PADDING, 1), (6, 1), *_ROUTING, (_PADDING, 1), (_DIRECTION, 1)),
    7: _fields(*_COMMON, (_PADDING, 1), (6, 1), *_ROUTING, (_PADDING, 2), (_PADDING, 4)),
}
"""Field specifiers of a record by version, in IANA element ids (v9 took them over from v5)."""
RECORD: Final = {version: sum(item.length for item in fields) for version, fields in FIELDS.items()}


def parse_header(payload: bytes, version: int) -> Header | Fault:
    """Header of a v1, v5 or v7 datagram; `end` covers the whole records that are there, at most as many as the header says."""
    layout = _HEADERS[version]
    start = layout.size
    if len(payload) < start:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, a NetFlow v{version} header has {start}")
    sequence, engine_type, engine_id, sampling = 0, 0, 0, 0
    if version == 5:
        _, records, uptime, seconds, nanoseconds, sequence, engine_type, engine_id, sampling = layout.unpack_from(payload)
    elif version == 7:
        _, records, uptime, seconds, nanoseconds, sequence, _ = layout.unpack_from(payload)
    else:
        _, records, uptime, seconds, nanoseconds = layout.unpack_from(payload)
    whole = (len(payload) - start) // RECORD[version]
    end = start + (records if records < whole else whole) * RECORD[version]
    exported = seconds * 1000 + nanoseconds // 1_000_000
    domain = engine_type << 8 | engine_id
    return make_header((version, records, uptime, exported, sequence, domain, start, end, sampling))


def read_headers(words: Longs, lengths: Longs) -> Headers:
    """Headers of v5 datagrams, from their first words (word, datagram); plain are those with as many records as they say."""
    _, uptime, seconds, nanoseconds, sequence, engine = words[:6]
    records = words[0] & 0xFFFF
    end = _HEADER_5.size + records * RECORD[5]
    plain = ((end == lengths) & (records > 0)).astype(np.int64)
    exported = seconds * 1000 + nanoseconds // 1_000_000
    start, none = np.full(len(lengths), _HEADER_5.size), np.zeros(len(lengths), np.int64)
    return Headers(plain, records, uptime, exported, sequence, engine >> 16, start, end, engine & 0xFFFF, none)
