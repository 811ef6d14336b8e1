"""Template fields for NetFlow v9 and IPFIX: which element carries which column in how many octets.

In: what an exporter exports. Out: layouts, and rows of a layout as contiguous big-endian records. Refuses to know headers and
sets. Element ids are IANA's, which NetFlow v9 shares up to 127 (RFC 3954 section 8, RFC 7012).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.loadgen.records import Rows

VARIABLE: Final = 0xFFFF
"""Length of a field whose data carry their own length (RFC 7011 section 7)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a template; `column` names a column of RECORD, or one given beside the rows."""

    element: int
    length: int
    column: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A template: its id and fields in order."""

    template_id: int
    fields: tuple[Field, ...]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """One record, packed."""
        return np.dtype([_member(field) for field in self.fields])


def _member(field: Field) -> tuple[str, str] | tuple[str, str, int]:
    return (field.column, "u1", field.length) if field.length == 16 or _is_v4(field) else (field.column, f">u{field.length}")


_V4_ADDRESSES: Final = (8, 12, 15)
_ENDS: Final = {
    4: (Field(8, 4, "src_addr"), Field(12, 4, "dst_addr"), Field(15, 4, "next_hop")),
    6: (Field(27, 16, "src_addr"), Field(28, 16, "dst_addr"), Field(62, 16, "next_hop")),
}
_MASKS: Final = {
    4: (Field(9, 1, "src_mask"), Field(13, 1, "dst_mask")),
    6: (Field(29, 1, "src_mask"), Field(30, 1, "dst_mask")),
}
_KEY: Final = (
    Field(7, 2, "src_port"),
    Field(11, 2, "dst_port"),
    Field(4, 1, "protocol"),
    Field(5, 1, "tos"),
    Field(10, 4, "in_if"),
    Field(14, 4, "out_if"),
    Field(58, 2, "vlan"),
    Field(60, 1, "ip_version"),
)
_ROUTES: Final = (Field(16, 4, "src_as"), Field(17, 4, "dst_as"))
_TIMES: Final = {
    "uptime": (Field(22, 4, "first_uptime"), Field(21, 4, "last_uptime")),
    "milliseconds": (Field(152, 8, "first_ms"), Field(153, 8, "last_ms")),
    "seconds": (Field(150, 4, "first_s"), Field(151, 4, "last_s")),
}
_DIRECTION: Final = Field(61, 1, "direction")
_TIMEOUTS: Final = (Field(36, 2, "active_timeout_s"), Field(37, 2, "inactive_timeout_s"))
_INTERVAL: Final = Field(34, 4, "sampling_interval")
_SAMPLER: Final = {9: Field(48, 1, "sampler"), 10: Field(302, 4, "sampler")}
_MEASURES: Final = {
    9: (Field(1, 4, "bytes"), Field(2, 4, "packets"), Field(6, 1, "tcp_flags")),
    10: (Field(1, 8, "bytes"), Field(2, 8, "packets"), Field(6, 2, "tcp_flags"), Field(136, 1, "flow_end_reason")),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the fields of an exporter's records."""

    version: int
    time_fields: str
    directed: bool
    sampling: str
    timeouts: str


def flow_layout(shape: Shape, ip_version: int, template_id: int) -> Layout:
    """The template of an exporter's flow records for one address family."""
    fields = [*_ENDS[ip_version], *_MASKS[ip_version], *_KEY, *_MEASURES[shape.version], *_ROUTES, *_TIMES[shape.time_fields]]
    if shape.directed:
        fields.append(_DIRECTION)
    if shape.sampling == "record":
        fields.append(_INTERVAL)
    if shape.sampling == "sampler":
        fields.append(_SAMPLER[shape.version])
    if shape.timeouts == "record":
        fields.extend(_TIMEOUTS)
    return Layout(template_id, tuple(fields))


def encode_rows(layout: Layout, rows: Rows, beside: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Records of a layout, end to end. Values are cut to the field's length as unsigned numbers."""
    records = np.empty(len(rows), dtype=layout.dtype)
    for field in layout.fields:
        column = beside[field.column] if field.column in beside else rows[field.column]
        records[field.column] = column[:, 12:] if _is_v4(field) else column
    return records.tobytes()


def _is_v4(field: Field) -> bool:
    return field.element in _V4_ADDRESSES
