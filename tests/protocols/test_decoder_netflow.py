"""NetFlow v5, v9 and IPFIX through the decoder: fixed records, templates, times, sampling, and order."""

import struct
from collections.abc import Callable

import pytest

from common.addresses import pack_address
from common.config import Ingest
from flowpb.lanes import lane_of
from flowpb.schema import Direction, ProtocolVersion, SamplingSource
from ingest.blocks import RECORDS_PER_SET
from ingest.decoder import Datagram
from tests.protocols.wire import (
    EXPORTER,
    FLOW,
    NOW_MS,
    NOW_S,
    OTHER,
    UPTIME_MS,
    Line,
    flow,
    ipfix,
    netflow5,
    netflow9,
    options_template,
    put,
    record5,
    template,
)

_BOOT = NOW_MS - UPTIME_MS


def test_a_v5_record_becomes_all_of_its_columns() -> None:
    (row,) = Line().take(netflow5(record5(), sequence=77, sampling=0x4000 | 100))
    assert row == {
        "received_ms": NOW_MS,
        "exported_ms": NOW_MS,
        "first_switched_ms": _BOOT + UPTIME_MS - 2000,
        "delta_switched_ms": _BOOT + UPTIME_MS - 2000,
        "last_switched_ms": _BOOT + UPTIME_MS - 1000,
        "exporter_addr": EXPORTER,
        "observation_domain": 0x0102,
        "protocol_version": ProtocolVersion.NETFLOW_V5,
        "flow_seq_num": 77,
        "num_flow_records": 1,
        "engine_type": 1,
        "engine_id": 2,
        "src_addr": pack_address("10.0.0.1"),
        "dst_addr": pack_address("10.0.1.1"),
        "src_port": 1025,
        "dst_port": 443,
        "protocol": 6,
        "ip_version": 4,
        "tos": 0xB8,
        "in_if": 3,
        "out_if": 4,
        "direction": Direction.INGRESS,
        "bytes": 500,
        "packets": 5,
        "sampling_interval": 100.0,
        "sampling_algorithm": 1,
        "sampling_source": SamplingSource.HEADER,
        "tcp_flags": 0x1B,
        "src_as": 65001,
        "dst_as": 65002,
        "src_mask": 24,
        "dst_mask": 16,
        "next_hop": pack_address("10.0.2.1"),
    }


@pytest.mark.parametrize(("padding", "direction"), [(0, 0), (0x80, 1), (0x7F, 0), (0xFF, 1), (0x8000, 0)])
def test_v5_flows_that_leave_have_a_bit_of_the_padding(padding: int, direction: int) -> None:
    line = Line()
    line.feed(netflow9(template(256, (*FLOW, (61, 1))), put(256, flow(1) + b"\x80")), exporter=OTHER)
    rows = line.take(netflow5(record5()[:-2] + padding.to_bytes(2)))
    assert {row["protocol_version"]: row["direction"] for row in rows} == {5: direction, 9: Direction.UNKNOWN}


@pytest.mark.parametrize(("version", "header"), [(1, ">HHIII"), (7, ">HHIIIII")])
def test_v1_and_v7_records_are_decoded(version: int, header: str) -> None:
    head = struct.pack(header, version, 1, UPTIME_MS, NOW_S, 0, *([0, 0] if version == 7 else []))
    body = bytes((10, 0, 0, 1, 10, 0, 1, 1, 10, 0, 2, 1)) + struct.pack(">HHIIIIHH", 3, 4, 5, 500, 1, 2, 1025, 443)
    tail = bytes((0, 0, 6, 0xB8, 0x1B)) + bytes(11) if version == 1 else bytes((0, 0x1B, 6, 0xB8)) + bytes(12)
    (row,) = Line().take(head + body + tail)
    assert (row["protocol_version"], row["bytes"], row["packets"], row["protocol"], row["tos"]) == (version, 500, 5, 6, 0xB8)
    assert (row["tcp_flags"], row["dst_port"], row["last_switched_ms"]) == (0x1B, 443, _BOOT + 2)


def test_flows_of_many_structures_and_exporters_keep_their_order() -> None:
    line = Line()
    wide = (*FLOW, (5, 1))
    for exporter in (EXPORTER, OTHER):
        line.feed(netflow9(template(256, FLOW), template(257, wide)), exporter=exporter)
    for number in range(1, 9):
        body = put(257, flow(number) + b"\x01") if number % 3 == 0 else put(256, flow(number) + flow(number + 100))
        line.feed(netflow9(body, sequence=number), exporter=EXPORTER if number % 2 else OTHER)
    rows = line.rows()
    ports = {
        exporter: [row["src_port"] - 1024 for row in rows if row["exporter_addr"] == exporter] for exporter in (EXPORTER, OTHER)
    }
    assert ports == {EXPORTER: [1, 101, 3, 5, 105, 7, 107], OTHER: [2, 102, 4, 104, 6, 8, 108]}
    assert {row["src_port"] - 1024 for row in rows if row["tos"] == 1} == {3, 6}


def test_batches_are_by_the_lane_of_their_exporter() -> None:
    line = Line()
    line.feed(netflow5(record5()))
    line.feed(netflow5(record5()), exporter=OTHER)
    assert line.decoder.pending_flows == 2
    assert line.decoder.pending_bytes == 96
    batches = line.decoder.drain()
    assert {lane: batch.num_rows for lane, batch in batches.items()} == {lane_of(EXPORTER): 1, lane_of(OTHER): 1}
    assert line.decoder.drain() == {}


def test_missing_direction_is_unknown_but_v5_meters_on_ingress() -> None:
    line = Line()
    with_direction = (*FLOW, (61, 1))
    rows = line.take(
        netflow9(template(256, FLOW), put(256, flow())),
        netflow9(template(257, with_direction), put(257, b"".join(flow(n) + bytes([n]) for n in (0, 1, 2))), sequence=1),
        netflow5(record5()),
    )
    assert [row["direction"] for row in rows] == [Direction.UNKNOWN, 0, 1, Direction.UNKNOWN, Direction.INGRESS]


def test_the_address_that_is_all_zero_gives_way_to_the_other_family() -> None:
    fields = ((8, 4), (27, 16), (12, 4), (28, 16), (1, 4))
    four = bytes((10, 0, 0, 1)) + bytes(16) + bytes((10, 0, 0, 2)) + bytes(16) + bytes(4)
    six = bytes(4) + pack_address("2001:db8::1") + bytes(4) + pack_address("2001:db8::2") + bytes(4)
    rows = Line().take(ipfix(template(256, fields, ipfix=True), put(256, four + six)))
    assert [row["src_addr"] for row in rows] == [pack_address("10.0.0.1"), pack_address("2001:db8::1")]
    assert [row["dst_addr"] for row in rows] == [pack_address("10.0.0.2"), pack_address("2001:db8::2")]
    assert [row["ip_version"] for row in rows] == [4, 6]


def test_reduced_sizes_are_read_and_too_long_ones_give_their_low_octets() -> None:
    fields = ((1, 5), (2, 3), (10, 2), (16, 2), (6, 2), (4, 1), (7, 4), (5, 3))
    record = struct.pack(">B I B H H H H B I", 1, 2, 0, 3, 7, 65001, 0x112, 17, 443) + b"\0\0\xb8"
    (row,) = Line().take(ipfix(template(256, fields, ipfix=True), put(256, record)))
    assert (row["bytes"], row["packets"], row["in_if"]) == ((1 << 32) + 2, 3, 7)
    assert (row["src_as"], row["tcp_flags"], row["protocol"], row["src_port"], row["tos"]) == (65001, 0x112, 17, 443, 0xB8)


def test_records_with_fields_of_variable_length_are_walked_and_padding_is_skipped() -> None:
    fields = ((96, 65535), *FLOW, (371, 65535), (5, 1))
    long_name = b"\xff\x01\x00" + b"n" * 256
    records = b"\x05https" + flow(1) + b"\0" + b"\x10" + long_name + flow(2) + b"\x02ab" + b"\x20"
    line = Line()
    rows = line.take(ipfix(template(256, fields, ipfix=True), put(256, records + b"\0\0")))
    assert [row["application_name"] for row in rows] == ["https", "n" * 256]
    assert [row["bytes"] for row in rows] == [1000, 2000]
    assert [row["tos"] for row in rows] == [0x10, 0x20]
    assert line.problems() == {}


@pytest.mark.parametrize("octet", [b"\0", b"\x01"])
def test_more_records_of_variable_length_than_are_read_are_counted(octet: bytes) -> None:
    line = Line()
    size = 1 + octet[0]
    line.feed(ipfix(template(256, ((96, 65535),), ipfix=True), put(256, octet * (RECORDS_PER_SET + 100) * size)))
    assert len(line.rows()) == RECORDS_PER_SET
    assert line.problems() == {"record_truncated": 1}


def test_a_record_of_variable_length_that_ends_too_late_costs_itself() -> None:
    line = Line()
    fields = (*FLOW, (96, 65535))
    rows = line.take(ipfix(template(256, fields, ipfix=True), put(256, flow(1) + b"\x01x" + flow(2) + b"\x50yy")))
    assert [row["bytes"] for row in rows] == [1000]
    assert line.problems() == {"record_truncated": 1}


def test_a_uptime_above_the_exporters_own_was_taken_before_its_counter_wrapped() -> None:
    line = Line()
    rows = line.take(netflow5(record5(first=0xFFFFFFFF, last=5), record5(first=0xFFFFFFFF - 999, last=5), uptime_ms=10_000))
    assert [row["first_switched_ms"] for row in rows] == [NOW_MS - 10_001, NOW_MS - 11_000]
    assert [row["last_switched_ms"] for row in rows] == [NOW_MS - 9_995] * 2


def test_illegal_times_are_moved_to_the_export_and_counted() -> None:
    line = Line()
    (row,) = line.take(netflow5(record5(first=2000, last=1000)))
    assert row["first_switched_ms"] == row["delta_switched_ms"] == row["last_switched_ms"] == NOW_MS
    assert line.problems() == {"times_repaired": 1}


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        (((152, 8), (153, 8)), b"\xff" * 16),
        (((152, 8), (153, 8)), b"\x80" + bytes(7) + b"\x7f" + b"\xff" * 7),
        (((150, 8), (151, 8)), b"\xff" * 16),
        (((150, 8), (151, 8)), struct.pack(">QQ", 1 << 60, 1 << 61)),
        (((158, 8), (159, 4)), struct.pack(">QI", (1 << 63) - 1, 0)),
        (((152, 8), (323, 8)), struct.pack(">QQ", NOW_MS, (1 << 63) + 5)),
    ],
)
def test_numbers_that_are_no_times_are_moved_to_the_export_and_counted(fields: tuple[tuple[int, int], ...], values: bytes) -> None:
    line = Line()
    (row,) = line.take(ipfix(template(256, (*FLOW, *fields), ipfix=True), put(256, flow() + values)))
    assert row["first_switched_ms"] == row["delta_switched_ms"] == row["last_switched_ms"] == NOW_MS
    assert line.problems() == {"times_repaired": 1}


def test_a_clock_of_1970_has_flows_from_before_it() -> None:
    line = Line()
    payload = bytearray(netflow5(record5()))
    payload[8:12] = (100).to_bytes(4)
    (row,) = line.take(bytes(payload))
    assert (row["first_switched_ms"], row["clock_correction_ms"]) == (98_000, NOW_MS - 100_000)
    (row,) = line.take(
        netflow9(template(256, (*FLOW, (22, 4), (21, 4))), put(256, flow() + struct.pack(">II", 0, 1)), exported_s=1)
    )
    assert row["first_switched_ms"] == 1000 - UPTIME_MS
    assert line.problems() == {}


def test_missing_times_are_that_of_the_export() -> None:
    (row,) = Line().take(ipfix(template(256, FLOW, ipfix=True), put(256, flow())))
    assert row["first_switched_ms"] == row["delta_switched_ms"] == row["last_switched_ms"] == NOW_MS


def test_an_export_time_of_zero_is_the_receive_time() -> None:
    (row,) = Line().take(ipfix(template(256, FLOW, ipfix=True), put(256, flow()), exported_s=0))
    assert row["exported_ms"] == row["last_switched_ms"] == NOW_MS
    assert "clock_correction_ms" not in row


_NTP = (NOW_S + 2_208_988_800) << 32


@pytest.mark.parametrize(
    ("fields", "values", "first", "last"),
    [
        (((150, 4), (151, 4)), struct.pack(">II", NOW_S - 9, NOW_S - 2), NOW_MS - 9000, NOW_MS - 2000),
        (((152, 8), (153, 8)), struct.pack(">QQ", NOW_MS - 9001, NOW_MS - 2001), NOW_MS - 9001, NOW_MS - 2001),
        (((154, 8), (155, 8)), struct.pack(">QQ", _NTP - (9 << 32), _NTP - (1 << 31)), NOW_MS - 9000, NOW_MS - 500),
        (((156, 8), (157, 8)), struct.pack(">QQ", _NTP - (9 << 32), _NTP - (1 << 30)), NOW_MS - 9000, NOW_MS - 250),
        (((158, 4), (159, 4)), struct.pack(">II", 9_000_000, 2_000_000), NOW_MS - 9000, NOW_MS - 2000),
        (((156, 8), (157, 8)), struct.pack(">IIII", 5, 0, 9, 0), 2_085_978_501_000, 2_085_978_505_000),
        (((154, 8), (155, 8)), struct.pack(">IIII", 5, 0, 9, 0), 2_085_978_501_000, 2_085_978_505_000),
        (((22, 4), (21, 4), (160, 8)), struct.pack(">IIQ", 1000, 3000, NOW_MS - 5000), NOW_MS - 4000, NOW_MS - 2000),
        (((22, 4), (21, 4)), struct.pack(">II", 1000, 3000), NOW_MS - 2000, NOW_MS),
        (((152, 8), (161, 4)), struct.pack(">QI", NOW_MS - 9000, 4000), NOW_MS - 9000, NOW_MS - 5000),
        (((153, 8), (162, 4)), struct.pack(">QI", NOW_MS - 1000, 4_000_000), NOW_MS - 5000, NOW_MS - 1000),
        (((152, 8), (22, 4), (153, 8)), struct.pack(">QIQ", NOW_MS - 9, 0, NOW_MS - 2), NOW_MS - 9, NOW_MS - 2),
    ],
)
def test_every_time_element_of_ipfix(fields: tuple[tuple[int, int], ...], values: bytes, first: int, last: int) -> None:
    (row,) = Line().take(ipfix(template(256, (*FLOW, *fields), ipfix=True), put(256, flow() + values)))
    assert (row["first_switched_ms"], row["last_switched_ms"]) == (first, last)


@pytest.mark.parametrize(("octets", "start"), [(1000, NOW_MS - 62_000), (0, NOW_MS - 17_000)])
def test_counters_start_at_the_active_timeout_and_without_any_at_the_inactive(octets: int, start: int) -> None:
    fields = ((1, 4), (152, 8), (153, 8), (36, 2), (37, 2))
    record = struct.pack(">IQQHH", octets, NOW_MS - 900_000, NOW_MS - 2000, 60, 15)
    (row,) = Line().take(ipfix(template(256, fields, ipfix=True), put(256, record)))
    assert row["first_switched_ms"] == NOW_MS - 900_000
    assert row["delta_switched_ms"] == start


def test_the_configured_active_timeout_holds_where_none_is_exported() -> None:
    line = Line(Ingest(active_timeout_s=1))
    (row,) = line.take(netflow5(record5(first=UPTIME_MS - 9000, last=UPTIME_MS - 1000)))
    assert (row["first_switched_ms"], row["delta_switched_ms"]) == (NOW_MS - 9000, NOW_MS - 2000)


def test_a_clock_that_is_far_off_is_corrected_from_the_first_datagram_on() -> None:
    line = Line()
    line.now_ms = NOW_MS + 7_500
    (row,) = line.take(netflow5(record5()))
    assert row["clock_correction_ms"] == 7_000
    assert "clock_correction_ms" not in Line().take(netflow5(record5()))[0]


def test_mac_mpls_icmp_nat_and_the_rest_of_the_elements() -> None:
    fields = (
        (56, 6),
        (80, 6),
        (70, 3),
        (71, 3),
        (72, 3),
        (32, 2),
        (225, 4),
        (228, 2),
        (230, 1),
        (95, 4),
        (136, 1),
        (192, 1),
        (89, 1),
    )
    record = bytes.fromhex("0200000000010200000000020001400002010000000305cb0071011f900103000050024080")
    (row,) = Line().take(ipfix(template(256, fields, ipfix=True), put(256, record)))
    assert (row["src_mac"], row["dst_mac"]) == (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
    assert row["mpls_labels"] == [0x14, 0x20]
    assert (row["icmp_type"], row["icmp_code"]) == (3, 5)
    assert (row["nat_src_addr"], row["nat_dst_port"], row["nat_event"]) == (pack_address("203.0.113.1"), 8080, 1)
    assert (row["application_id"], row["flow_end_reason"], row["min_ttl"], row["max_ttl"]) == (b"\x03\0\0\x50", 2, 64, 64)
    assert row["forwarding_status"] == 128


@pytest.mark.parametrize(
    ("fraction", "millisecond"),
    [(0, 0), (4_294_967, 1), (4_294_968, 1), (4_294_967 | 0x7FF, 1), (4_290_000, 0), (0x7FF, 0), (0xFFFFFFFF, 1000)],
)
def test_the_low_bits_of_a_microsecond_time_mean_nothing(fraction: int, millisecond: int) -> None:
    seconds = 1_700_000_000 + 2_208_988_800
    record = bytes(4) + struct.pack(">II", seconds, fraction) + struct.pack(">II", seconds + 5, 0)
    (row,) = Line().take(ipfix(template(256, ((8, 4), (154, 8), (155, 8)), ipfix=True), put(256, record)))
    assert row["first_switched_ms"] == 1_700_000_000_000 + millisecond


@pytest.mark.parametrize(
    ("elements", "values", "vlan", "vlan_out"),
    [
        ((58, 59), (0, 7), 0, 7),
        ((58, 59), (5, 7), 5, 7),
        ((59,), (7,), 7, 7),
        ((59, 243), (7, 9), 9, 7),
        ((254, 255), (0, 8), 8, 8),
        ((243, 245), (9, 3), 9, None),
    ],
)
def test_the_vlan_of_a_flow_is_the_one_it_came_in_with(
    elements: tuple[int, ...], values: tuple[int, ...], vlan: int, vlan_out: int | None
) -> None:
    fields = tuple((number, 2) for number in elements)
    (row,) = Line().take(netflow9(template(256, (*FLOW, *fields)), put(256, flow() + struct.pack(f">{len(values)}H", *values))))
    assert (row["vlan"], row.get("vlan_out")) == (vlan, vlan_out)


def test_the_next_hop_is_that_of_bgp_where_no_other_is_known() -> None:
    hops = bytes((10, 0, 0, 1, 10, 0, 0, 2))
    line = Line()
    both = ipfix(template(256, (*FLOW, (15, 4), (18, 4)), True), put(256, flow() + hops))
    one = ipfix(template(257, (*FLOW, (18, 4)), True), put(257, flow() + hops[4:]), sequence=1)
    six = ipfix(template(258, (*FLOW, (63, 16)), True), put(258, flow() + bytes(15) + b"\x07"), sequence=2)
    rows = line.take(both, one, six)
    assert [row["next_hop"] for row in rows] == [pack_address("10.0.0.1"), pack_address("10.0.0.2"), pack_address("::7")]
    assert [row["bgp_next_hop"] for row in rows] == [pack_address("10.0.0.2"), pack_address("10.0.0.2"), pack_address("::7")]


def test_template_ids_come_in_any_order_and_sets_may_be_padded() -> None:
    line = Line()
    fields = template(65535, FLOW, True)[4:] + template(256, FLOW, True)[4:] + bytes(3)
    padded = struct.pack(">HH", 2, 4 + len(fields)) + fields
    options = options_template(300, ((149, 4),), ((34, 4),), ipfix=True)[4:] + bytes(2)
    padded_options = struct.pack(">HH", 3, 4 + len(options)) + options
    line.feed(ipfix(padded, padded_options))
    rows = line.take(ipfix(put(65535, flow(1) + bytes(3)), put(300, struct.pack(">II", 0, 10) + bytes(2)), put(256, flow(2))))
    assert [(row["packets"], row["sampling_interval"]) for row in rows] == [(1, 10.0), (2, 10.0)]
    assert line.problems() == {}


@pytest.mark.parametrize(("make", "ids"), [(netflow9, (2, 3, 255)), (ipfix, (0, 1, 4, 255))])
def test_reserved_sets_are_left_out_and_located(make: Callable[..., bytes], ids: tuple[int, ...]) -> None:
    line = Line()
    rows = line.take(make(template(256, FLOW, make is ipfix), *(put(number, bytes(8)) for number in ids), put(256, flow(1))))
    assert len(rows) == 1
    assert [(problem.reason.value, problem.set_id) for problem in line.decoder.problems()] == [("reserved_set", one) for one in ids]


def test_a_message_of_65535_octets_is_whole() -> None:
    size = len(flow(1))
    flows = (65535 - 16 - 4) // size
    padding = 65535 - 16 - 4 - flows * size
    message = ipfix(put(256, flow(7) * flows + bytes(padding)))
    assert len(message) == 65535
    assert len(Line().take(ipfix(template(256, FLOW, True)), message, session=1)) == flows


def _community_list(number: int, *values: int, length: int = 4) -> bytes:
    body = struct.pack(">BHH", 3, number, length) + b"".join(value.to_bytes(length) for value in values)
    return bytes([len(body)]) + body


def test_bgp_communities_and_neighbours_of_ipfix() -> None:
    fields = ((8, 4), (484, 65535), (485, 65535), (128, 4), (129, 4), (351, 8))
    empty = bytes(4) + _community_list(483) + b"\x02\xff\xff" + struct.pack(">IIQ", 0, 0, 0)
    filled = (
        bytes((10, 0, 0, 1))
        + _community_list(483, 65000 << 16 | 1)
        + _community_list(483, 65000 << 16 | 2, 0xFFFFFF02)
        + struct.pack(">IIQ", 65010, 65020, 1 << 56 | 5000)
    )
    rows = Line().take(ipfix(template(256, fields, ipfix=True), put(256, filled + empty + filled)))
    assert [(row["src_communities"], row["dst_communities"]) for row in rows] == [
        ([65000 << 16 | 1], [65000 << 16 | 2, 0xFFFFFF02]),
        ([], []),
        ([65000 << 16 | 1], [65000 << 16 | 2, 0xFFFFFF02]),
    ]
    assert (rows[0]["dst_peer_as"], rows[0]["src_peer_as"], rows[0]["vni_in"]) == (65010, 65020, 5000)
    (single,) = Line().take(ipfix(template(256, ((8, 4), (483, 4)), ipfix=True), put(256, bytes(4) + b"\xfd\xe8\0\x09")))
    assert (single["dst_communities"], single.get("src_communities")) == ([65000 << 16 | 9], None)
    (long,) = Line().take(
        ipfix(template(256, ((8, 4), (483, 9)), ipfix=True), put(256, bytes(4) + b"\xff" * 5 + b"\xfd\xe8\0\x09"))
    )
    assert long["dst_communities"] == [65000 << 16 | 9]


def test_a_memoryview_is_as_good_as_octets() -> None:
    line = Line()
    line.decoder.feed(Datagram(EXPORTER, NOW_MS, memoryview(netflow5(record5()))))
    assert len(line.rows()) == 1
