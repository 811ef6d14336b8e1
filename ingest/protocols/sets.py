"""Sets of NetFlow v9 and IPFIX messages: walking them, and reading the templates inside.

In: octets with their bounds. Out: spans, template definitions, faults. A set that is not usable costs itself; only a length that
cannot be believed ends the walk, since nothing after it has a place.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.problems import Reason
from ingest.protocols.message import Fault, Longs, Span
from ingest.templates import Field

SET_HEADER: Final = struct.Struct(">HH")
FIRST_DATA_SET: Final = 256
_MAX_FIELDS: Final = 4096


class Definition(NamedTuple):
    """One template record; no fields: a withdrawal. `scope_count` is None for a template of flows."""

    id: int
    fields: list[Field]
    scope_count: int | None


def walk_sets(payload: bytes, start: int, end: int) -> tuple[list[Span], list[Fault]]:
    """Spans of the sets between `start` and `end`; a last one that claims more than the datagram has is cut to what is there."""
    spans: list[Span] = []
    faults: list[Fault] = []
    offset = start
    while offset + 4 <= end:
        set_id, length = SET_HEADER.unpack_from(payload, offset)
        if length < 4:
            if any(payload[offset:end]):
                faults.append(Fault(Reason.SET_LENGTH, offset, f"set of {length} octets, its header alone has 4", set_id))
            break
        stop = offset + length
        if stop > end:
            there = min(stop, len(payload))
            faults.append(Fault(Reason.SET_LENGTH, offset, f"set of {length} octets, {end - offset} are left", set_id))
            spans.append((set_id, offset + 4, there))
            break
        spans.append((set_id, offset + 4, stop))
        offset = stop
    return spans, faults


def are_data_sets(set_id: Longs, octets: Longs, end: Longs, lengths: Longs) -> NDArray[np.bool_]:
    """Which sets of so many octets are data sets that end, at `end`, within the octets of their messages."""
    found: NDArray[np.bool_] = (set_id >= FIRST_DATA_SET) & (octets >= SET_HEADER.size) & (end <= lengths)
    return found


def read_fields(payload: bytes, offset: int, stop: int, count: int, enterprise: bool) -> tuple[list[Field], int] | None:
    """`count` field specifiers and the offset after them, or None if the set ends before they do (RFC 7011 section 3.2)."""
    fields: list[Field] = []
    if count > _MAX_FIELDS:
        return None
    for _ in range(count):
        if offset + 4 > stop:
            return None
        number, length = SET_HEADER.unpack_from(payload, offset)
        offset += 4
        pen = 0
        if enterprise and number & 0x8000:
            if offset + 4 > stop:
                return None
            pen = int.from_bytes(payload[offset : offset + 4])
            number &= 0x7FFF
            offset += 4
        fields.append(Field(pen, number, length))
    return fields, offset


def malformed(offset: int, number: int, text: str) -> Fault:
    """The fault of a template record that cannot be used."""
    return Fault(Reason.TEMPLATE_MALFORMED, offset, f"template {number}: {text}", number)
