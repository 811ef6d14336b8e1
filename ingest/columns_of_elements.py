"""Which element makes which column: the canonical mapping of everything but times and sampling.

In: rows with their elements. Out: columns of FLOW. The precedence of elements is that of the FLOW table (`Column.elements`); where
a record has several of them, a later one counts where the ones before it are 0 (an address: all zero).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowpb.schema import ADDRESS, BY_NAME, FLOW, Direction, Stage
from ingest.elementvalues import unsigned_list
from ingest.options import SamplingView
from ingest.rows import Rows

_BY_HAND: Final = frozenset(
    (
        *("direction", "ip_version", "icmp_type", "icmp_code", "bytes", "packets", "tos", "vlan"),
        *("sampling_interval", "sampling_algorithm", "sampling_source", "vni_in"),
    )
)
_NUMBERS: Final[tuple[tuple[str, Any, tuple[int, ...]], ...]] = tuple(
    (column.name, np.dtype(f"u{column.type.bit_width // 8}"), column.elements)
    for column in FLOW
    if column.stage is Stage.INGEST
    and column.elements
    and pa.types.is_unsigned_integer(column.type)
    and column.name not in _BY_HAND
)
_ADDRESSES: Final = tuple(
    (column.name, tuple(zip(column.elements[::2], column.elements[1::2], strict=True)))
    for column in FLOW
    if column.type == ADDRESS and column.elements
)
"""Pairs of elements, of both families, of each column: the first pair of which the records have one."""
_VLANS_OUT: Final = BY_NAME["vlan_out"].elements
_VLANS_IN: Final = tuple(number for number in BY_NAME["vlan"].elements if number not in _VLANS_OUT)
_MACS: Final = ("src_mac", "dst_mac")
_LABELS: Final = BY_NAME["mpls_labels"].elements
_TOS, _CODE_POINT = BY_NAME["tos"].elements
_COMMUNITY: Final = 483
_SEGMENT: Final = 351
_COUNTERS: Final = (("bytes", (1, 23, 352, 417, 401, 85)), ("packets", (2, 24, 402, 86)))


def put_numbers(rows: Rows) -> None:
    """Every column that is an unsigned integer in the record; of counters the first that the template has, also when it is 0."""
    for name, dtype, elements in _NUMBERS:
        put_number(rows, name, dtype, elements)
    for name, elements in _COUNTERS:
        put_number(rows, name, np.uint64, tuple(rows.present(*elements)[:1]))


def put_number(rows: Rows, name: str, dtype: Any, elements: tuple[int, ...]) -> None:
    """One such column: the first of the elements that is not 0, or else 0."""
    present = rows.present(*elements)
    if not present:
        return
    values = rows.uint(present[0], dtype)
    for number in present[1:]:
        if values.all():
            break
        values = np.where(values == 0, rows.uint(number, dtype), values)
    rows.put(name, values)


def put_tos(rows: Rows) -> None:
    """The octet (5), or the code point that is its upper six bits (195)."""
    if rows.has(_TOS):
        put_number(rows, "tos", np.uint8, (_TOS,))
    elif rows.has(_CODE_POINT):
        rows.put("tos", rows.uint(_CODE_POINT, np.uint8) << np.uint8(2))


def put_vlan(rows: Rows) -> None:
    """The VLAN that packets came in with, or that they leave with where the records have no other."""
    put_number(rows, "vlan", np.uint16, _VLANS_IN if rows.present(*_VLANS_IN) else _VLANS_OUT)


def put_direction(rows: Rows) -> None:
    """FlowDirection (61); anything but ingress and egress is unknown, as is its absence in v9 and IPFIX.

    NetFlow v5 meters on ingress, unless the highest bit of its padding says egress.
    """
    fixed = rows.packets["version"] < 9
    if rows.has(61):
        values = rows.uint(61, np.uint8)
        if fixed.any():
            values = np.where(rows.spread(fixed), values >> 7, values)
        rows.put("direction", np.where(values > Direction.EGRESS, np.uint8(Direction.UNKNOWN), values))
    else:
        rows.put("direction", rows.spread(np.where(fixed, Direction.INGRESS, Direction.UNKNOWN).astype(np.uint8)))


def put_addresses(rows: Rows) -> None:
    """Address columns, and the IP version: element 60, else by the family of the ends."""
    version = rows.uint(60, np.uint8) if rows.has(60) else np.zeros(rows.count, np.uint8)
    six = version == 6
    if any(rows.has(narrow) for _, pairs in _ADDRESSES for _, narrow in pairs):
        for number in rows.present(27, 28):
            six |= _is_filled(rows, number)
    for name, pairs in _ADDRESSES:
        for wide, narrow in pairs:
            if _put_address(rows, name, wide, narrow, six):
                break
    family = six.astype(np.uint8) * 2 + 4
    known = (version == 4) | (version == 6)
    if rows.present(8, 12):
        rows.put("ip_version", np.where(known, version, family))
    elif rows.present(27, 28):
        rows.put("ip_version", np.where(known, version, np.uint8(6)))
    elif known.any():
        rows.put("ip_version", version, known)


def _put_address(rows: Rows, name: str, wide: int, narrow: int, six: NDArray[np.bool_]) -> bool:
    has_wide, has_narrow = _is_sized(rows, wide, 16), _is_sized(rows, narrow, 4)
    if has_narrow and not has_wide:
        rows.out.put_narrow(name, rows.where, rows.uint(narrow, np.uint32))
    elif has_wide and not has_narrow:
        rows.out.put_wide(name, rows.where, rows.words(wide))
    elif has_wide:
        words, short = rows.words(wide), rows.uint(narrow, np.uint32)
        is_wide = _is_filled(rows, wide) | (six & (short == 0))
        rows.out.put_narrow(name, rows.where, short, ~is_wide)
        if is_wide.any():
            rows.out.put_wide(name, rows.where, words, is_wide)
    return has_wide or has_narrow


def _is_filled(rows: Rows, number: int) -> NDArray[np.bool_]:
    """Where an element has an octet that is not 0."""
    if not _is_sized(rows, number, 16):
        return np.asarray(rows.octets((0, number)).any(axis=1))
    high, low = rows.words(number)
    return np.asarray((high | low) != 0)


def _is_sized(rows: Rows, number: int, octets: int) -> bool:
    return rows.has(number) and rows.block.layout.fields[rows.view.index[0, number]].length == octets


def put_macs(rows: Rows) -> None:
    """MAC addresses of both ends."""
    for name in _MACS:
        for number in BY_NAME[name].elements:
            if _is_sized(rows, number, 6):
                rows.put(name, np.ascontiguousarray(rows.octets((0, number))))
                break


def put_icmp(rows: Rows) -> None:
    """ICMP type and code: elements of their own (176-179), else both in one (32, 139)."""
    both = rows.present(32, 139)
    for name, single, shift in (("icmp_type", (176, 178), 8), ("icmp_code", (177, 179), 0)):
        put_number(rows, name, np.uint8, single)
        if both and not rows.present(*single):
            values = rows.uint(both[0], np.uint16)
            for number in both[1:]:
                values = np.where(values == 0, rows.uint(number, np.uint16), values)
            rows.put(name, (values >> shift).astype(np.uint8))


def put_labels(rows: Rows) -> None:
    """MPLS labels, top first, up to the bottom of the stack (RFC 3032 section 2.1: 20 bits, then 3 of class and 1 of bottom)."""
    present = rows.present(*_LABELS)
    if not present:
        return
    stack = np.stack([rows.uint(number, np.uint32) for number in present], axis=1)
    filled = stack.any(axis=1)
    if not filled.any():
        return
    bottom = np.cumsum(stack & 1, axis=1) - (stack & 1)
    kept = (stack != 0) & (bottom == 0)
    positions = np.arange(rows.out.rows)[rows.where][filled]
    rows.out.put_lists("mpls_labels", positions, kept[filled].sum(axis=1), stack[filled][kept[filled]] >> 4)


def put_communities(rows: Rows) -> None:
    """BGP communities of both ends (RFC 8549): lists of 32-bit values; outside of a list the destination's only one."""
    for name in ("src_communities", "dst_communities"):
        for number in rows.present(*BY_NAME[name].elements)[:1]:
            positions = np.arange(rows.out.rows)[rows.where]
            octets = _texts(rows, number)
            lists = [unsigned_list(value) if number != _COMMUNITY else [int.from_bytes(value[-4:])] for value in octets]
            values = np.array([value for each in lists for value in each], np.uint32)
            rows.out.put_lists(name, positions, np.array(list(map(len, lists))), values)


def put_segment(rows: Rows) -> None:
    """The overlay segment (351): its upper octet says of which kind, the lower three are its id (RFC 7348, 7637)."""
    if rows.has(_SEGMENT):
        rows.put("vni_in", rows.uint(_SEGMENT, np.uint32) & np.uint32(0xFFFFFF))


def put_applications(rows: Rows, views: Sequence[SamplingView]) -> None:
    """Element 95 as octets; 96 as text, or the name that options data gave to the id."""
    ids = _texts(rows, 95) if rows.has(95) else []
    names = [_text(value) for value in _texts(rows, 96)] if rows.has(96) else []
    if ids and any(view.applications for view in views):
        tables = [views[number].applications for number in rows.of_packet("view").tolist()]
        found = [table[value].name if value in table else "" for table, value in zip(tables, ids, strict=True)]
        names = [name or known for name, known in zip(names or [""] * len(found), found, strict=True)]
    for column, values in (("application_id", ids), ("application_name", names)):
        kept = np.array([bool(value) for value in values], bool)
        if kept.any():
            positions = np.arange(rows.out.rows)[rows.where][kept]
            rows.out.put_objects(column, positions, [value for value in values if value])


def _texts(rows: Rows, number: int) -> list[bytes]:
    starts, lengths = rows.spans((0, number))
    data = rows.block.data.tobytes()
    return [data[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


STEPS: Final[tuple[Callable[[Rows], None], ...]] = (
    put_numbers,
    put_tos,
    put_vlan,
    put_direction,
    put_addresses,
    put_macs,
    put_icmp,
    put_labels,
    put_communities,
    put_segment,
)
