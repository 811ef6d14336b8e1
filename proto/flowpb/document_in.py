"""FlowDocuments of OpenNMS to columns of FLOW, without an object per flow.

In: serialised FlowDocuments and when the bus took each. Out: a record batch, which message each row came from, and the messages
that are none. All messages are walked in lockstep, field by field; what a careful encoder would not write (a field twice, a group,
text beyond ASCII, a malformed end) goes through protobuf's own parser first, which decides. Refuses to know topics and lanes.

Times on the wire are corrected by `clock_correction`; here the correction is taken out, since readers add it. A missing time of the
export is that of the bus, a missing end the export, a missing start the end. Numbers beyond their column, and text that is no
address or VLAN, count as not exported; a document without an exporter's address is none. "Public" cannot be told from "not said".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from flowpb.flowdocument_pb2 import FlowDocument, NodeInfo
from flowpb.schema import ADDRESS, FLOW, TEXT, Direction, ProtocolVersion

Ints = NDArray[np.int64]
_PADDING: Final = bytes(16)
_FIELDS: Final = 48
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LATEST_MS: Final = 1 << 53
_DESCRIPTOR: Final = FlowDocument.DESCRIPTOR.fields_by_number
_WRAPPED: Final = {n: f.message_type.name for n, f in _DESCRIPTOR.items() if f.message_type and f.message_type.name != "NodeInfo"}
_TEXTS: Final = {number for number, field in _DESCRIPTOR.items() if field.type == field.TYPE_STRING}
_NODES: Final = {35: "src", 36: "exporter", 37: "dst"}
_PLAIN: Final = set(_DESCRIPTOR) - set(_WRAPPED) - _TEXTS - set(_NODES)
_WIRES: Final = np.full(_FIELDS + 1, -1)
_WIRES[list(_DESCRIPTOR)] = [_VARINT if number in _PLAIN else _LENGTH for number in _DESCRIPTOR]
_KNOWN_WIRES: Final = np.isin(np.arange(8), (_VARINT, _FIXED64, _LENGTH, _FIXED32))
_VERSIONS: Final = np.array(
    [ProtocolVersion.NETFLOW_V5, ProtocolVersion.NETFLOW_V9, ProtocolVersion.IPFIX, ProtocolVersion.SFLOW_V5], np.uint8
)
_COUNTED: Final = {
    column.document: column
    for column in FLOW
    if column.document in _WRAPPED and not column.name.endswith("_ms") and column.name != "sampling_interval"
}
_ADDRESSES: Final = {column.document: column.name for column in FLOW if column.document in _TEXTS and column.type == ADDRESS}
_NAMES: Final = {column.document: column.name for column in FLOW if column.document in _TEXTS and column.type == TEXT}
_DTYPES: Final[dict[pa.DataType, Any]] = {
    pa.uint8(): np.uint8,
    pa.uint16(): np.uint16,
    pa.uint32(): np.uint32,
    pa.uint64(): np.uint64,
}
_TIMES: Final = {11: "delta_switched_ms", 12: "first_switched_ms", 13: "last_switched_ms"}
_LOCALITIES: Final = {41: "src_locality", 42: "dst_locality", 43: "flow_locality"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """`rows` are the places of the flows' messages among those given; `faults`, places of what is no FlowDocument."""

    flows: pa.RecordBatch
    rows: Ints
    faults: Ints


def flows_of(documents: Sequence[bytes], taken_ms: Ints) -> Parsed:
    """The flows in the order of the documents; `taken_ms` is when the bus took each."""
    kept = np.arange(len(documents))
    walk = _Walk(documents)
    if walk.odd.any():
        documents, fine = _rewritten(documents, walk.odd)
        kept = kept[fine]
        walk = _Walk([documents[at] for at in kept.tolist()])
    exporters = walk.addresses(39)
    known = exporters.is_valid().to_numpy(zero_copy_only=False)
    flows = _flows(walk, exporters, taken_ms[kept])
    rows = kept[known]
    return Parsed(flows if known.all() else flows.filter(pa.array(known)), rows, np.setdiff1d(np.arange(len(taken_ms)), rows))


def _rewritten(documents: Sequence[bytes], odd: NDArray[np.bool_]) -> tuple[list[bytes], NDArray[np.bool_]]:
    """The documents with the odd ones as protobuf writes them, and which of all can be used."""
    documents, fine = list(documents), np.ones(len(documents), bool)
    for at in np.flatnonzero(odd).tolist():
        try:
            message = FlowDocument.FromString(documents[at])
        except DecodeError:
            fine[at] = False
        else:
            message.DiscardUnknownFields()
            documents[at] = message.SerializeToString()
    return documents, fine


class _Walk:
    """Every field of each message: row, number, and either its value or its place in the octets; `odd` rows are not to be used."""

    def __init__(self, documents: Sequence[bytes]) -> None:
        self.count = len(documents)
        self.octets = np.frombuffer(b"".join([*documents, _PADDING]), np.uint8)
        self.odd = np.zeros(self.count, bool)
        lengths = np.fromiter(map(len, documents), np.int64, self.count)
        self._ends = np.cumsum(lengths)
        self._found: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []
        self._go(self._ends - lengths)
        self._sort()
        self._check()

    def numbers(self, field: int) -> tuple[Ints, NDArray[np.uint64]]:
        """Rows that have the field, and its values: a plain number, or the one in its wrapper."""
        rows, at, size = self._of(field)
        if field in _PLAIN:
            return rows, at.view(np.uint64)
        values, _ = self._varints(np.where(size > 0, at + 1, len(self.octets) - len(_PADDING)))
        return rows, values

    def doubles(self, field: int) -> tuple[Ints, NDArray[np.float64]]:
        """As `numbers`, for a wrapped double."""
        rows, at, size = self._of(field)
        octets = self.octets[np.where(size > 0, at + 1, len(self.octets) - 8)[:, None] + np.arange(8)]
        return rows, np.ascontiguousarray(octets).view("<f8").ravel()

    def coded(self, field: int) -> tuple[Ints, pa.DictionaryArray]:
        """Rows that have the field, and its octets, each distinct value once."""
        rows, at, size = self._of(field)
        behind = np.concatenate([[0], np.cumsum(size)])
        octets = self.octets[np.repeat(at - behind[:-1], size) + np.arange(behind[-1])]
        buffers = [None, pa.py_buffer(behind.astype(np.int32)), pa.py_buffer(octets)]
        return rows, pa.Array.from_buffers(pa.binary(), len(rows), buffers).dictionary_encode()

    def mapped(self, field: int, make: Callable[[bytes], Any], kind: pa.DataType) -> pa.Array:
        """A dictionary column of `kind`: `make` is asked once per distinct value, and says None for what is no value."""
        rows, coded = self.coded(field)
        made = [make(octets) for octets in coded.dictionary.to_pylist()]
        values = list(dict.fromkeys(value for value in made if value is not None))
        place = {value: number for number, value in enumerate(values)}
        codes = np.full(self.count, -1, np.int32)
        codes[rows] = np.array([-1 if value is None else place[value] for value in made] or [-1], np.int32)[
            coded.indices.to_numpy()
        ]
        indices = pa.array(codes, mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(values, kind.value_type))

    def addresses(self, field: int) -> pa.Array:
        """A column of addresses."""
        return self.mapped(field, _address, ADDRESS)

    def _of(self, field: int) -> tuple[Ints, Ints, Ints]:
        here = self._order[self._bounds[field] : self._bounds[field + 1]]
        return self._rows[here], self._at[here], self._size[here]

    def _go(self, position: Ints) -> None:
        rows = np.flatnonzero(position < self._ends)
        position = position[rows]
        while rows.size:
            tag, after = self._varints(position)
            wire, field = (tag & 7).astype(np.int64), (tag >> 3).astype(np.int64)
            value, behind = self._varints(after)
            size = np.where(wire == _LENGTH, np.minimum(value, 1 << 40).view(np.int64), 0)
            at = np.where(wire == _VARINT, value.view(np.int64), behind)
            following = np.where(wire == _FIXED64, after + 8, np.where(wire == _FIXED32, after + 4, behind + size))
            good = (following <= self._ends[rows]) & (field > 0) & _KNOWN_WIRES[wire]
            self.odd[rows[~good]] = True
            self._found.append((rows[good], field[good], wire[good], at[good], size[good]))
            going = good & (following < self._ends[rows])
            rows, position = rows[going], following[going]

    def _varints(self, position: Ints) -> tuple[NDArray[np.uint64], Ints]:
        """The numbers that begin at the positions, and the positions behind them; the last octets of all are zeros."""
        octet = self.octets[np.minimum(position, len(self.octets) - 1)]
        value = (octet & 0x7F).astype(np.uint64)
        after = position + 1
        left = np.flatnonzero(octet & 0x80)
        for shift in range(7, 70, 7):
            if not left.size:
                break
            octet = self.octets[np.minimum(after[left], len(self.octets) - 1)]
            value[left] |= (octet & 0x7F).astype(np.uint64) << np.uint64(shift)
            after[left] += 1
            left = left[(octet & 0x80) != 0]
        after[left] = len(self.octets)  # longer than ten octets: behind every end
        return value, after

    def _sort(self) -> None:
        joined = [np.concatenate(parts) for parts in zip(*self._found, strict=True)] if self._found else [np.zeros(0, np.int64)] * 5
        rows, field, wire, at, size = joined
        ours = _WIRES[np.minimum(field, _FIELDS)] == wire
        self._rows, self._at, self._size, field = rows[ours], at[ours], size[ours], field[ours].astype(np.uint8)
        self._order = np.argsort(field, kind="stable")
        self._bounds = np.searchsorted(field[self._order], np.arange(_FIELDS + 1))

    def _check(self) -> None:
        high = np.concatenate([[0], np.cumsum(self.octets >= 0x80, dtype=np.int32)])
        for field in _DESCRIPTOR:
            rows, at, size = self._of(field)
            if not rows.size:
                continue
            self.odd |= np.bincount(rows, minlength=self.count) > 1
            if field in _WRAPPED:
                self.odd[rows[~self._is_plain_wrapper(field, at, size)]] = True
            elif field in _TEXTS:
                self.odd[rows[high[at + size] > high[at]]] = True
            elif field in _NODES:
                rows, coded = self.coded(field)
                bad = np.array([not _is_node(octets) for octets in coded.dictionary.to_pylist()])
                self.odd[rows[bad[coded.indices.to_numpy()]]] = True

    def _is_plain_wrapper(self, field: int, at: Ints, size: Ints) -> NDArray[np.bool_]:
        tag, empty = self.octets[at], size == 0
        if _WRAPPED[field] == "DoubleValue":
            whole: NDArray[np.bool_] = (size == 9) & (tag == 0x09)
        else:
            whole = (tag == 0x08) & (self._varints(at + 1)[1] == at + size)
        plain: NDArray[np.bool_] = empty | whole
        return plain


def _flows(walk: _Walk, exporters: pa.Array, taken_ms: Ints) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {"exporter_addr": exporters}
    columns |= _times(walk, taken_ms)
    for field, column in _COUNTED.items():
        if column.name != "tos":
            _put(columns, column.name, *_fitting(walk, field, column.type), walk.count)
    columns |= _tos(walk) | _enumerations(walk)
    rows, intervals = walk.doubles(24)
    _put(columns, "sampling_interval", rows, intervals, walk.count)
    columns |= {name: walk.addresses(field) for field, name in _ADDRESSES.items() if field != 39}
    columns |= {name: walk.mapped(field, _text, TEXT) for field, name in _NAMES.items()}
    vlan = walk.mapped(34, _vlan, pa.dictionary(pa.int32(), pa.uint16()))
    columns["vlan"] = vlan.dictionary_decode()
    for field, end in _NODES.items():
        columns |= _node_columns(walk, field, end)
    kept = [c.name for c in FLOW if c.name in columns and columns[c.name].null_count < max(1, walk.count)]
    return pa.RecordBatch.from_arrays([columns[name] for name in kept], names=kept)


def _times(walk: _Walk, taken_ms: Ints) -> dict[str, pa.Array]:
    correction = np.zeros(walk.count, np.int64)
    rows, shift = walk.numbers(45)
    correction[rows] = shift.view(np.int64)
    correction[np.abs(correction) > _LATEST_MS] = 0
    exported = taken_ms + 0
    rows, at_ms = walk.numbers(1)
    exported[rows] = _ms(at_ms)
    last = exported.copy()
    found = {name: walk.numbers(field) for field, name in _TIMES.items()}
    rows, at_ms = found["last_switched_ms"]
    last[rows] = _ms(at_ms)
    first = last.copy()
    rows, at_ms = found["first_switched_ms"]
    first[rows] = _ms(at_ms)
    rows, at_ms = found["delta_switched_ms"]
    delta, missing = np.zeros(walk.count, np.int64), np.ones(walk.count, bool)
    delta[rows], missing[rows] = _ms(at_ms), False
    columns = {
        "received_ms": pa.array(taken_ms),
        "exported_ms": pa.array(exported - correction),
        "first_switched_ms": pa.array(first - correction),
        "delta_switched_ms": pa.array(delta - correction, mask=missing),
        "last_switched_ms": pa.array(last - correction),
    }
    return columns | ({"clock_correction_ms": pa.array(correction)} if correction.any() else {})


def _ms(values: NDArray[np.uint64]) -> Ints:
    signed = values.view(np.int64)
    return np.clip(signed, -_LATEST_MS, _LATEST_MS)


def _fitting(walk: _Walk, field: int, kind: pa.DataType) -> tuple[Ints, NDArray[Any]]:
    """Rows and values of a number, without those that the column cannot hold."""
    rows, values = walk.numbers(field)
    if _WRAPPED[field] == "UInt32Value":
        values = values & np.uint64(0xFFFFFFFF)
    dtype = _DTYPES[kind]
    fits = values <= np.uint64(np.iinfo(dtype).max)
    return rows[fits], values[fits].astype(dtype)


def _put(columns: dict[str, pa.Array], name: str, rows: Ints, values: NDArray[Any], count: int) -> None:
    full, missing = np.zeros(count, values.dtype), np.ones(count, bool)
    full[rows], missing[rows] = values, False
    columns[name] = pa.array(full, mask=missing if missing.any() else None)


def _tos(walk: _Walk) -> dict[str, pa.Array]:
    """The octet, or what DSCP and ECN say of it."""
    tos, missing = np.zeros(walk.count, np.uint8), np.ones(walk.count, bool)
    for field, most, shift in ((46, 63, 2), (47, 3, 0)):
        rows, values = walk.numbers(field)
        fits = values <= np.uint64(most)
        tos[rows[fits]] |= values[fits].astype(np.uint8) << shift
        missing[rows[fits]] = False
    rows, octets = _fitting(walk, 32, pa.uint8())
    tos[rows], missing[rows] = octets, False
    return {"tos": pa.array(tos, mask=missing)}


def _enumerations(walk: _Walk) -> dict[str, pa.Array]:
    """Columns of enumerations: proto3 leaves out what is 0."""
    direction = np.full(walk.count, Direction.INGRESS, np.uint8)
    rows, values = walk.numbers(3)
    direction[rows] = np.where(values == 1, Direction.EGRESS, np.where(values == 0, Direction.INGRESS, Direction.UNKNOWN))
    version = np.full(walk.count, _VERSIONS[0], np.uint8)
    rows, values = walk.numbers(33)
    version[rows] = _VERSIONS[np.minimum(values, len(_VERSIONS) - 1).astype(np.int64)]
    columns = {"direction": pa.array(direction), "protocol_version": pa.array(version)}
    rows, values = walk.numbers(23)
    named = (values > 0) & (values < 8)
    _put(columns, "sampling_algorithm", rows[named], values[named].astype(np.uint8), walk.count)
    for field, name in _LOCALITIES.items():
        rows, values = walk.numbers(field)
        codes = np.full(walk.count, -1, np.int32)
        codes[rows[values == 1]] = 0
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(["private"], pa.string()))
    return columns


def _node_columns(walk: _Walk, field: int, end: str) -> dict[str, pa.Array]:
    if not len(walk._of(field)[0]):
        return {}
    columns = {
        f"{end}_{name}": walk.mapped(field, lambda octets, name=name: _node_text(octets, name), TEXT)  # type: ignore[misc]
        for name in ("foreign_source", "foreign_id", "categories")
    }
    numbers = walk.mapped(field, lambda octets: _node(octets).node_id or None, pa.dictionary(pa.int32(), pa.uint32()))
    return columns | {f"{end}_node_id": numbers.dictionary_decode()}


@lru_cache(maxsize=1 << 14)
def _node(octets: bytes) -> NodeInfo:
    return NodeInfo.FromString(octets)


def _is_node(octets: bytes) -> bool:
    try:
        _node(octets)
    except DecodeError:
        return False
    return True


def _node_text(octets: bytes, name: str) -> str | None:
    node = _node(octets)
    return {"foreign_source": node.foreign_source, "foreign_id": node.foregin_id, "categories": ",".join(node.categories)}[
        name
    ] or None


@lru_cache(maxsize=1 << 16)
def _address(octets: bytes) -> bytes | None:
    """A fifth of the time that `ipaddress` takes, where every flow has addresses of its own."""
    try:
        if b":" in octets:
            return inet_pton(AF_INET6, octets.decode())
        return _MAPPED + inet_pton(AF_INET, octets.decode())
    except (OSError, ValueError):
        return None


def _text(octets: bytes) -> str | None:
    return octets.decode() or None


def _vlan(octets: bytes) -> int | None:
    return int(octets) if octets.isdigit() and len(octets) <= 5 and int(octets) <= 0xFFFF else None
