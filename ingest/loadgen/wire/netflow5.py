"""NetFlow v5 datagrams: a header of 24 octets and up to 30 records of 48 octets (Cisco, "NetFlow Export Datagram Format").

In: rows and the uptimes of their ends. Out: octets. IPv4 only; AS numbers above 16 bits are sent as AS_TRANS (RFC 6793).
"""

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.loadgen.records import Rows

AS_TRANS: Final = 23456
RECORD_SIZE: Final = 48
_SYSTEMATIC: Final = 1
_HEADER: Final = struct.Struct("!HHIIIIBBH")
_RECORD: Final = np.dtype(
    [
        ("src_addr", "u1", 4),
        ("dst_addr", "u1", 4),
        ("next_hop", "u1", 4),
        ("in_if", ">u2"),
        ("out_if", ">u2"),
        ("packets", ">u4"),
        ("bytes", ">u4"),
        ("first", ">u4"),
        ("last", ">u4"),
        ("src_port", ">u2"),
        ("dst_port", ">u2"),
        ("pad1", "u1"),
        ("tcp_flags", "u1"),
        ("protocol", "u1"),
        ("tos", "u1"),
        ("src_as", ">u2"),
        ("dst_as", ">u2"),
        ("src_mask", "u1"),
        ("dst_mask", "u1"),
        ("pad2", ">u2"),
    ]
)
_SAME: Final = (
    "in_if",
    "out_if",
    "packets",
    "bytes",
    "src_port",
    "dst_port",
    "tcp_flags",
    "protocol",
    "tos",
    "src_mask",
    "dst_mask",
)


def encode_rows(rows: Rows, first: npt.NDArray[np.generic], last: npt.NDArray[np.generic]) -> bytes:
    """Records end to end; `first` and `last` are uptimes in milliseconds, 32 bits."""
    records = np.zeros(len(rows), dtype=_RECORD)
    for name in ("src_addr", "dst_addr", "next_hop"):
        records[name] = rows[name][:, 12:]
    for name in _SAME:
        records[name] = rows[name]
    for name in ("src_as", "dst_as"):
        records[name] = short_as(rows[name])
    records["first"], records["last"] = first, last
    return records.tobytes()


def short_as(numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """AS numbers as 16 bits can say them."""
    return np.where(numbers > 0xFFFF, np.uint32(AS_TRANS), numbers)


def header(count: int, uptime_ms: int, exported_ms: int, sequence: int, engine: int, sampling_interval: int) -> bytes:
    """The header of `count` records; a sampling interval of 1 is sent as 'not sampled'."""
    seconds, milliseconds = divmod(exported_ms, 1000)
    sampling = _SYSTEMATIC << 14 | sampling_interval if sampling_interval > 1 else 0
    return _HEADER.pack(
        5,
        count,
        uptime_ms & 0xFFFFFFFF,
        seconds,
        milliseconds * 1_000_000,
        sequence & 0xFFFFFFFF,
        engine >> 8,
        engine & 0xFF,
        sampling,
    )
