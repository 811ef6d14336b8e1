"""Templates of any elements and lengths with their data, made of octets, for property tests and the fuzzer.

In: octets. Out: datagrams of NetFlow v9 or IPFIX: a template or an options template of elements that the decoder knows, and a data
set. What a fuzzer would not find by itself are the pairs of elements that mean something together.
"""

from collections.abc import Iterator
from typing import Final

from flowpb.schema import FLOW
from ingest.elements import REVERSE_PEN
from tests.protocols.wire import ipfix, netflow9, options_template, put, template

_OF_OPTIONS: Final = (34, 35, 36, 37, 48, 49, 50, 82, 83, 94, 130, 131, 149, 160, 236, 300, 302, *range(303, 312), *range(329, 347))
_ODD: Final = (
    0,
    3,
    130,
    131,
    148,
    161,
    162,
    210,
    231,
    232,
    240,
    291,
    292,
    293,
    298,
    299,
    *range(312, 318),
    323,
    371,
    408,
    409,
    410,
)
_KNOWN: Final = sorted({number for column in FLOW for number in column.elements} | {102, 104, *_OF_OPTIONS, *_ODD})
ELEMENTS: Final[tuple[tuple[int, int], ...]] = (
    *((number, 0) for number in _KNOWN),
    *((number, REVERSE_PEN) for number in _KNOWN[::3]),
    *((number, 9) for number in (12236, 12237, 12240, 12241)),
    (12, 4711),
)
LENGTHS: Final = (1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 8, 9, 16, 20, 0, 33, 65535, 65535, 200)
_VARIABLE: Final = 65535
_LONG: Final = 255
_FIELDS: Final = 12


def compose(data: bytes) -> Iterator[bytes]:
    """Datagrams; the same octets make the same ones. Each takes a head of flags and fields, and what follows fills its records."""
    for sequence, part in enumerate(data.split(b"\n\n")[:4]):
        if len(part) > 3:
            yield _datagram(part, sequence)


def _datagram(part: bytes, sequence: int) -> bytes:
    flags, count = part[0], 1 + part[1] % _FIELDS
    is_ipfix = bool(flags & 1)
    pairs = part[2 : 2 + 3 * count]
    chosen = [
        (*ELEMENTS[int.from_bytes(pairs[place : place + 2]) % len(ELEMENTS)], LENGTHS[pairs[place + 2] % len(LENGTHS)])
        for place in range(0, len(pairs) - 2, 3)
    ]
    fields = [(number, length, pen) if pen and is_ipfix else (number, length) for number, pen, length in chosen]
    filler = part[2 + 3 * count :] or b"\0"
    body = _records([length for _, _, length in chosen], filler, 1 + (flags >> 1 & 3))
    data = put(300, body + bytes(flags >> 3 & 3))
    if flags & 0x20:
        scopes = min(flags >> 6, len(fields))
        made = options_template(300, fields[:scopes], fields[scopes:], is_ipfix)
    else:
        made = template(300, fields, is_ipfix)
    sets = (data, made) if part[1] & 0x80 else (made, data)
    return (ipfix if is_ipfix else netflow9)(*sets, sequence=sequence)


def _records(lengths: list[int], filler: bytes, count: int) -> bytes:
    """Records of these lengths; the filler's octets come again and again, and say how long variable fields are."""
    parts: list[bytes] = []
    at = 0
    for length in lengths * count:
        size = length
        if length == _VARIABLE:
            size = filler[at % len(filler)]
            parts.append(bytes([size]) if size < _LONG else b"\xff" + size.to_bytes(2))
        at += 1
        start = at % len(filler)
        parts.append((filler[start:] + filler * (size // len(filler) + 1))[:size])
        at += size
    return b"".join(parts)
