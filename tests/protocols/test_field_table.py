"""The field table of the protocols page against the decoder: what FLOW says of a protocol comes out of it, no more and no less."""

import struct
from typing import Final

import pytest

from common.addresses import pack_address
from flowpb.schema import BY_NAME, FLOW, Column, Stage
from ingest.elements import element_of
from tests.protocols.sflow_wire import (
    discarded_sample,
    ethernet,
    ethernet_ipv4_tcp,
    flow_sample,
    ipv4,
    ipv6,
    item,
    raw_header,
    sflow,
    tcp,
)
from tests.protocols.wire import NOW_MS, NOW_S, Line, ipfix, netflow5, netflow9, put, record5, template

_COLUMNS: Final = tuple(column for column in FLOW if column.stage is Stage.INGEST)
_OURS: Final = frozenset(("received_ms", "clock_correction_ms", "location", "sampling_source", "extras"))
"""Columns that no exporter fills."""
_IN_THE_HEADER: Final = frozenset(
    ("exported_ms", "exporter_addr", "protocol_version", "flow_seq_num", "num_flow_records", "observation_domain", "direction")
)
_FILLED_ANYHOW: Final = _IN_THE_HEADER | {
    "first_switched_ms",
    "delta_switched_ms",
    "last_switched_ms",
    "sampling_source",
    "received_ms",
}
_SIZE: Final = 309
_NTP: Final = (NOW_S - 7 + 2_208_988_800) << 32
_ODD: Final[dict[int, tuple[bytes, object]]] = {
    21: (struct.pack(">I", 3_593_000), NOW_MS - 7000),
    22: (struct.pack(">I", 3_593_000), NOW_MS - 7000),
    **{number: (struct.pack(">I", NOW_S - 7), NOW_MS - 7000) for number in (150, 151)},
    **{number: (struct.pack(">Q", NOW_MS - 7000), NOW_MS - 7000) for number in (152, 153)},
    **{number: (struct.pack(">Q", _NTP), NOW_MS - 7000) for number in (154, 155, 156, 157)},
    **{number: (struct.pack(">I", 7_000_000), NOW_MS - 7000) for number in (158, 159)},
    35: (b"\x02", None),
    49: (b"\x02", None),
    304: (b"\x03", None),
    60: (b"\x06", 6),
    61: (b"\x01", 1),
    195: (b"\x2e", 0x2E << 2),
    **{number: (struct.pack(">I", 77 << 12 | 1 << 8)[:3], [77]) for number in range(70, 80)},
    **dict.fromkeys((32, 139), (b"\x03\x05", 3)),
    **dict.fromkeys((305, 307), (struct.pack(">I", 5), 1)),
    311: (struct.pack(">d", 0.25), 4),
    351: (struct.pack(">Q", 1 << 56 | 5000), 5000),
    483: (struct.pack(">I", 99), [99]),
    **{number: (struct.pack(">BHHI", 3, 483, 4, 99), [99]) for number in (484, 485)},
    96: (b"web", "web"),
    95: (b"\x03\0\0\x50", b"\x03\0\0\x50"),
}
"""Octets of an element and the value that its column has, where it is not the number that came."""
_SIZES: Final = {"ipv4Address": 4, "ipv6Address": 16, "macAddress": 6, "unsigned64": 8, "unsigned32": 4, "unsigned16": 2}


def _sample(column: Column, number: int) -> tuple[bytes, object]:
    if number in _ODD:
        octets, value = _ODD[number]
        return octets, octets[1] if column.name == "icmp_code" and number in (32, 139) else value
    kind = element_of(0, number).type
    octets = bytes(range(1, _SIZES.get(kind, 1) + 1))
    if kind == "ipv4Address":
        return octets, pack_address("1.2.3.4")
    if kind in ("ipv6Address", "macAddress"):
        return octets, octets
    return octets, int.from_bytes(octets) % (1 << getattr(column.type, "bit_width", 64))


@pytest.mark.parametrize(
    ("column", "number"),
    [pytest.param(column, number, id=f"{column.name}-{number}") for column in _COLUMNS for number in column.elements],
)
def test_each_element_alone_fills_its_column(column: Column, number: int) -> None:
    octets, value = _sample(column, number)
    fields: tuple[tuple[int, int], ...] = ((number, len(octets)), (210, 1))
    record = octets + b"\0"
    if column.name == "sampling_algorithm":
        fields, record, value = (*fields, (34, 1)), record + b"\x0a", 3
    elif number == _SIZE:
        fields, record, value = (*fields, (310, 4)), octets + b"\0" + struct.pack(">I", 3 * int.from_bytes(octets)), 3
    (row,) = Line().take(netflow9(template(256, fields), put(256, record)))
    assert row[column.name] == value


def test_netflow5_fills_what_the_table_says() -> None:
    (row,) = Line().take(netflow5(record5(), sampling=0x4000 | 100))
    assert {name for name, value in row.items() if value is not None} - _OURS == {column.name for column in _COLUMNS if column.v5}


def _everything_of_sflow() -> list[bytes]:
    address = struct.pack(">I4s", 1, bytes((10, 0, 2, 1)))
    gateway = struct.pack(">III", 1, 2, 3) + struct.pack(">IIIII", 1, 2, 2, 7, 8) + struct.pack(">III", 1, 5, 150)
    tunnel = struct.pack(">II4s4sIIII", 100, 47, bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2)), 0, 0, 0, 0)
    frame = struct.pack(">I6sxx6sxxI", 80, b"\2" * 6, b"\3" * 6, 0x0800)
    labels = struct.pack(">I", 1001 << 12 | 1 << 8)
    return [
        flow_sample(raw_header(ethernet(ipv4(tcp()), tags=((0x88A8, 5), (0x8100, 6))))),
        flow_sample(raw_header(ethernet(ipv6(tcp()), 0x86DD))),
        flow_sample(raw_header(ethernet(ipv4(b"\x03\x05\0\0", 1)))),
        flow_sample(raw_header(ethernet(labels + ipv4(tcp()), 0x8847))),
        flow_sample(item(2, frame)),
        flow_sample(item(1001, struct.pack(">IIII", 1, 0, 2, 0)), item(1002, address + struct.pack(">II", 24, 16))),
        flow_sample(item(1003, address + gateway), item(1007, address + address), item(1020, struct.pack(">II", 1, 2))),
        flow_sample(item(1021, frame), item(1022, frame), item(1023, tunnel), item(1024, tunnel)),
        flow_sample(item(1029, struct.pack(">I", 1)), item(1030, struct.pack(">I", 2))),
        discarded_sample(raw_header(ethernet_ipv4_tcp())),
    ]


def test_sflow_fills_what_the_table_says() -> None:
    rows = Line().take(sflow(*_everything_of_sflow()))
    filled = {name for row in rows for name, value in row.items() if value is not None}
    assert filled - _OURS == {column.name for column in _COLUMNS if column.sflow}


def test_templates_fill_what_the_table_says() -> None:
    numbers = dict.fromkeys(number for column in _COLUMNS for number in column.elements)
    filled: set[str] = set()
    for number in numbers:
        octets, _ = _sample(BY_NAME["bytes"], number)
        (row,) = Line().take(ipfix(template(256, ((number, len(octets)), (210, 1)), True), put(256, octets + b"\0")))
        filled |= {name for name, value in row.items() if value is not None}
    claimed = {column.name for column in _COLUMNS if column.elements}
    assert filled - _FILLED_ANYHOW - claimed == set()
    assert claimed - filled == {"sampling_algorithm"}, "it counts beside an interval only"
