"""Flows as OpenNMS's FlowDocument messages, one per flow.

In: record batches in columns of FLOW, enriched or not. Out: serialised FlowDocuments, by the field numbers of the FLOW table, with
nodes, application, localities and names where the flows have them. Every distinct value of a column is encoded once, as a message
of this one field; a flow's message is its fields side by side, since protobuf messages concatenate. Refuses to know where they are
sent. As OpenNMS has it, times are already corrected by `clock_correction`, whose sign is in its 64 bits.
"""

import struct
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowpb.addresses import format_address
from flowpb.flowdocument_pb2 import FlowDocument, NodeInfo
from flowpb.schema import ADDRESS, FLOW, Column, Direction, ProtocolVersion

_VERSIONS: Final = {ProtocolVersion.NETFLOW_V9: 1, ProtocolVersion.IPFIX: 2, ProtocolVersion.SFLOW_V5: 3}
_ALGORITHMS: Final = range(8)
_TOS: Final = "tos"
_DSCP, _ECN = (FlowDocument.DESCRIPTOR.fields_by_name[name].number for name in ("dscp", "ecn"))
_LENGTH: Final = 2
_TIMES: Final = ("exported_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms")
_CORRECTION: Final = "clock_correction_ms"
_COLUMNS: Final = tuple(column for column in FLOW if column.document is not None)
_NODES: Final = {"src": "src_node", "exporter": "exporter_node", "dst": "dest_node"}
_PRIVATE: Final = {"public": 0, "private": 1}

Value = int | float | str | bytes


def documents_of(flows: pa.RecordBatch) -> list[bytes]:
    """One serialised FlowDocument per row, in the order of the rows."""
    if not flows.num_columns:
        return [b""] * flows.num_rows
    flows = _corrected(flows)
    present = [column for column in _COLUMNS if column.name in flows.schema.names]
    encoded = [_encode(flows.column(column.name), _encoder(column)) for column in present]
    encoded += [nodes for end, field in _NODES.items() if (nodes := _encode_nodes(flows, end, field))]
    if _TOS in flows.schema.names:
        encoded.append(_encode(flows.column(_TOS), _encode_tos))
    return [b"".join(fields) for fields in zip(*encoded, strict=True)] if encoded else [b""] * flows.num_rows


def _corrected(flows: pa.RecordBatch) -> pa.RecordBatch:
    """The flows with what the wire wants told: corrected times, and an unknown direction."""
    columns = dict(zip(flows.schema.names, flows.columns, strict=True))
    shift = columns.get(_CORRECTION)
    if shift is not None and pc.any(pc.not_equal(shift, 0)).as_py():
        columns |= {name: pc.add(columns[name], pc.fill_null(shift, 0)) for name in _TIMES if name in columns}
    unknown = pa.scalar(Direction.UNKNOWN, pa.uint8())
    direction = columns.get("direction", pa.nulls(flows.num_rows, pa.uint8()))
    columns["direction"] = pc.fill_null(direction, unknown)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _encode_nodes(flows: pa.RecordBatch, end: str, field: str) -> list[bytes]:
    """The node of one end per row, every distinct one encoded once; empty where no flow has any."""
    names = [f"{end}_foreign_source", f"{end}_foreign_id", f"{end}_node_id", f"{end}_categories"]
    codes, values = np.zeros(flows.num_rows, np.int64), []
    for name in names:
        column = flows.column(name) if name in flows.schema.names else pa.nulls(flows.num_rows, pa.string())
        coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        values.append([None, *coded.dictionary.to_pylist()])
        codes = codes * len(values[-1]) + coded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
    distinct, place = np.unique(codes, return_inverse=True)
    if not distinct.any():
        return []
    messages = np.array([_node(field, code, values) for code in distinct.tolist()] + [b""], dtype=object)
    octets: list[bytes] = messages[place].tolist()
    return octets


def _node(field: str, code: int, values: list[list[Value | None]]) -> bytes:
    members: list[Value | None] = []
    for known in reversed(values):
        code, at = divmod(code, len(known))
        members.append(known[at])
    categories, node_id, foreign_id, foreign_source = members
    if all(member is None for member in members):
        return b""
    node = NodeInfo(foreign_source=str(foreign_source or ""), foregin_id=str(foreign_id or ""), node_id=int(node_id or 0))
    node.categories.extend(str(categories).split(",") if categories else ())
    document = FlowDocument()
    getattr(document, field).CopyFrom(node)
    return document.SerializeToString()


def _encode(column: pa.Array, encode: Callable[[Any], bytes]) -> list[bytes]:
    """The field's octets per row; a null is no octets. A dictionary may be that of many batches: what no row has costs nothing."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    distinct = len(column.dictionary)
    codes = column.indices.fill_null(distinct).to_numpy(zero_copy_only=False)
    used = np.flatnonzero(np.bincount(codes, minlength=distinct)[:distinct])
    fields = np.full(distinct + 1, b"", object)
    fields[used] = [encode(value) for value in column.dictionary.take(pa.array(used)).to_pylist()]
    octets: list[bytes] = fields[codes].tolist()
    return octets


def _encoder(column: Column) -> Callable[[Any], bytes]:
    assert column.document is not None
    number = column.document
    if column.type == ADDRESS:
        return partial(_address, number)
    write, convert = _writer(number), _CONVERTERS.get(column.name)
    if convert is None:
        return write

    def encode(value: Any) -> bytes:
        wire = convert(value)
        return b"" if wire is None else write(wire)

    return encode


@lru_cache(maxsize=1 << 16)
def _address(number: int, octets: bytes) -> bytes:
    return _writer(number)(format_address(octets))


@cache
def _writer(number: int) -> Callable[[Any], bytes]:
    """Value -> the octets of a message that has this field alone, as protobuf writes it; that would take ten times as long."""
    field = FlowDocument.DESCRIPTOR.fields_by_number[number]
    if field.type == field.TYPE_STRING:
        return partial(_text, _varint(number << 3 | _LENGTH))
    if field.message_type is None:
        return partial(_plain, _varint(number << 3))
    double = field.message_type.name == "DoubleValue"
    return partial(_double if double else _wrapped, _varint(number << 3 | _LENGTH))


def _text(tag: bytes, text: str) -> bytes:
    octets = text.encode()
    return tag + _varint(len(octets)) + octets if octets else b""


def _plain(tag: bytes, value: int) -> bytes:
    return tag + _varint(value) if value else b""


def _wrapped(tag: bytes, value: int) -> bytes:
    """A wrapper tells 0 from "not exported"."""
    if not value:
        return tag + b"\x00"
    octets = _varint(value)
    return b"%b%c\x08%b" % (tag, len(octets) + 1, octets)


def _double(tag: bytes, value: float) -> bytes:
    octets = struct.pack("<d", value)
    return tag + (b"\x09\x09" + octets if any(octets) else b"\x00")


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _encode_tos(tos: int) -> bytes:
    return _writer(_DSCP)(tos >> 2) + _writer(_ECN)(tos & 3)


def _unsigned(value: int) -> int:
    return value & (1 << 64) - 1


_CONVERTERS: Final[dict[str, Callable[[Any], int | str | None]]] = {
    "protocol_version": lambda version: _VERSIONS.get(ProtocolVersion(version), 0),
    "sampling_algorithm": lambda algorithm: algorithm if algorithm in _ALGORITHMS else 0,
    "vlan": str,
    **dict.fromkeys((*_TIMES, _CORRECTION), _unsigned),
    "src_locality": _PRIVATE.get,
    "dst_locality": _PRIVATE.get,
    "flow_locality": _PRIVATE.get,
}
