"""sFlow v5 through the decoder: samples, records, heads of packets, counters, malformed ones."""

import struct
from collections.abc import Callable

import pytest

from common.addresses import pack_address
from common.config import ExporterSettings, Ingest
from flowpb.flow_batch_pb2 import SequenceReport
from flowpb.schema import Direction, ProtocolVersion, SamplingSource
from ingest.decoder import READINGS_KEPT
from tests.protocols.sflow_wire import (
    MAC_A,
    MAC_B,
    discarded_sample,
    ethernet,
    ethernet_ipv4_tcp,
    expanded_sample,
    flow_sample,
    ipv4,
    ipv6,
    item,
    raw_header,
    sflow,
    tcp,
)
from tests.protocols.wire import EXPORTER, NOW_MS, OTHER, Line, netflow5, record5

_UDP = struct.pack(">HHHH", 5000, 53, 8, 0)


def _one(head: bytes, protocol: int = 1, **settings: object) -> dict[str, object]:
    line = Line(Ingest.model_validate({"exporter_settings": [{"networks": ["192.0.2.0/24"], **settings}]} if settings else {}))
    (row,) = line.take(sflow(flow_sample(raw_header(head, protocol=protocol))))
    return row


def test_a_sample_becomes_all_of_its_columns() -> None:
    switch = item(1001, struct.pack(">IIII", 100, 0, 200, 0))
    router = item(1002, struct.pack(">I4sII", 1, bytes((10, 0, 2, 1)), 24, 16))
    path = struct.pack(">IIIIIIII", 2, 2, 2, 65010, 65020, 1, 1, 65011)
    communities = struct.pack(">IIII", 2, 65000 << 16 | 100, 65000 << 16 | 200, 150)
    gateway = item(1003, struct.pack(">I4sIII", 1, bytes((10, 0, 3, 1)), 65000, 65001, 65002) + path + communities)
    (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), switch, router, gateway), sequence=77))
    assert row == {
        "received_ms": NOW_MS,
        "exported_ms": NOW_MS,
        "first_switched_ms": NOW_MS,
        "delta_switched_ms": NOW_MS,
        "last_switched_ms": NOW_MS,
        "exporter_addr": EXPORTER,
        "observation_domain": 3,
        "protocol_version": ProtocolVersion.SFLOW_V5,
        "flow_seq_num": 77,
        "num_flow_records": 1,
        "engine_id": 3,
        "src_addr": pack_address("10.0.0.1"),
        "dst_addr": pack_address("10.0.1.1"),
        "src_port": 40000,
        "dst_port": 443,
        "protocol": 6,
        "ip_version": 4,
        "tos": 0xB8,
        "in_if": 5,
        "out_if": 6,
        "direction": Direction.INGRESS,
        "vlan": 100,
        "vlan_out": 200,
        "bytes": 1400,
        "packets": 1,
        "sampling_interval": 1000.0,
        "sampling_algorithm": 1,
        "sampling_source": SamplingSource.RECORD,
        "tcp_flags": 0x18,
        "src_as": 65001,
        "dst_as": 65011,
        "src_mask": 24,
        "dst_mask": 16,
        "next_hop": pack_address("10.0.2.1"),
        "bgp_next_hop": pack_address("10.0.3.1"),
        "src_peer_as": 65002,
        "dst_peer_as": 65010,
        "as_path": [65010, 65020, 65011],
        "dst_communities": [65000 << 16 | 100, 65000 << 16 | 200],
        "local_pref": 150,
        "src_mac": MAC_A,
        "dst_mac": MAC_B,
        "fragment_offset": 0,
        "min_ttl": 63,
        "max_ttl": 63,
        "l2_bytes": 1418,
    }


def test_sampling_at_the_output_is_egress_and_many_outputs_are_none() -> None:
    line = Line()
    rows = line.take(
        sflow(
            flow_sample(raw_header(ethernet_ipv4_tcp()), source=6),
            flow_sample(raw_header(ethernet_ipv4_tcp()), out_if=2 << 30 | 7),
            flow_sample(raw_header(ethernet_ipv4_tcp()), out_if=1 << 30 | 256),
        )
    )
    assert [(row["direction"], row["out_if"], row["forwarding_status"]) for row in rows] == [
        (1, 6, None),
        (0, None, None),
        (0, None, 128),
    ]


def test_expanded_samples_have_interfaces_of_32_bits_and_of_many_outputs_the_sampled_one() -> None:
    (row,) = Line().take(sflow(expanded_sample(raw_header(ethernet_ipv4_tcp()), in_if=(0, 1_258_293_248), out_if=(2, 0))))
    assert (row["in_if"], row["out_if"], row["direction"]) == (1_258_293_248, 5, Direction.EGRESS)


def test_discarded_packets_count_nothing_but_themselves() -> None:
    (row,) = Line().take(sflow(discarded_sample(raw_header(ethernet_ipv4_tcp())), flow_sample(raw_header(ethernet_ipv4_tcp()))))[:1]
    assert (row["in_if"], row["out_if"], row["forwarding_status"], row["dst_port"]) == (5, 6, 128, 443)
    assert (row["bytes"], row["packets"], row["sampling_interval"]) == (None, None, None)


@pytest.mark.parametrize(
    ("tags", "vlan"),
    [
        ((), None),
        (((0x8100, 100),), 100),
        (((0x88A8, 200), (0x8100, 100)), 200),
        (((0x9100, 0xE064),), 100),
        (tuple((0x8100, number) for number in range(7, 17)), 7),
    ],
)
def test_stacks_of_vlan_tags(tags: tuple[tuple[int, int], ...], vlan: int | None) -> None:
    row = _one(ethernet(ipv4(tcp()), tags=tags))
    assert (row.get("vlan"), row["dst_port"]) == (vlan, 443)
    assert row.get("vlan_inner") == (tags[1][1] & 0xFFF if len(tags) > 1 else None)


@pytest.mark.parametrize(
    ("stripped", "tags", "switch", "found"),
    [
        ((), ((0x8100, 7),), None, (7, None)),
        ((0x88A80064,), (), None, (100, None)),
        ((0x88A8E064,), ((0x8100, 7), (0x8100, 8)), None, (100, 7)),
        ((0x88A80064, 0x81000065, 0x81000066), ((0x8100, 7),), None, (100, 101)),
        ((0x88A80064,), ((0x8100, 7),), 5, (5, 7)),
    ],
)
def test_tags_that_the_agent_took_off_are_above_those_of_the_head(
    stripped: tuple[int, ...], tags: tuple[tuple[int, int], ...], switch: int | None, found: tuple[int | None, int | None]
) -> None:
    tunnel = item(1012, struct.pack(f">I{len(stripped)}I", len(stripped), *stripped))
    records = [tunnel] if switch is None else [item(1001, struct.pack(">IIII", switch, 0, 0, 0)), tunnel]
    head = raw_header(ethernet(ipv4(tcp()), tags=tags))
    rows = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp())), flow_sample(head, *records)))
    assert (rows[1].get("vlan"), rows[1].get("vlan_inner")) == found
    assert (rows[0].get("vlan"), rows[0].get("vlan_inner")) == (None, None)


def test_a_list_of_stripped_tags_that_is_cut_says_nothing() -> None:
    for body in (b"", struct.pack(">I", 1), struct.pack(">II", 9, 0x81000005), b"\xff" * 8):
        (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), item(1012, body))))
        assert (row.get("vlan"), row["dst_port"]) == (None, 443)


def test_mpls_labels_above_ip() -> None:
    stack = struct.pack(">II", 1001 << 12 | 64, 1002 << 12 | 1 << 8 | 64)
    for payload, address in ((ipv4(tcp()), "10.0.0.1"), (ipv6(tcp()), "2001:db8::1")):
        row = _one(ethernet(stack + payload, 0x8847))
        assert (row["mpls_labels"], row["src_addr"], row["dst_port"]) == ([1001, 1002], pack_address(address), 443)


def test_ipv6_with_a_chain_of_extension_headers() -> None:
    chain = bytes((43, 0)) + bytes(6) + bytes((44, 1)) + bytes(14) + bytes((60, 0, 0, 1)) + bytes(4) + bytes((6, 0)) + bytes(6)
    row = _one(ethernet(ipv6(chain + tcp(), next_header=0), 0x86DD))
    assert (row["protocol"], row["src_port"], row["fragment_offset"]) == (6, 40000, 0)
    assert (row["ip_version"], row["tos"], row["flow_label"], row["min_ttl"]) == (6, 0xB8, 0x12345, 64)
    assert row["bytes"] == 1400


@pytest.mark.parametrize(
    ("first", "chain"),
    [
        (51, bytes((6, 4)) + bytes(22)),
        (51, bytes((6, 1)) + bytes(10)),
        (135, bytes((6, 1)) + bytes(14)),
        (0, (bytes((0, 0)) + bytes(6)) * 6 + bytes((60, 0)) + bytes(6) + bytes((6, 2)) + bytes(22)),
    ],
    ids=["authentication", "shorter authentication", "mobility", "eight"],
)
def test_extension_headers_have_lengths_of_their_own(first: int, chain: bytes) -> None:
    row = _one(ethernet(ipv6(chain + tcp(), next_header=first), 0x86DD))
    assert (row["protocol"], row["src_port"], row["dst_port"]) == (6, 40000, 443)


def test_every_kind_of_tag_and_of_label_is_passed_over() -> None:
    for kind in (0x8100, 0x88A8, 0x9100, 0x9200):
        assert _one(ethernet(ipv4(tcp()), tags=((kind, 5),)))["vlan"] == 5
    stack = struct.pack(">I", 1001 << 12 | 1 << 8 | 64)
    for kind in (0x8847, 0x8848):
        assert _one(ethernet(stack + ipv4(tcp()), kind))["mpls_labels"] == [1001]


def test_an_ipv6_packet_that_says_no_length_has_that_of_its_frame() -> None:
    row = _one(ethernet(ipv6(tcp(), length=0), 0x86DD))
    assert (row["bytes"], row["l2_bytes"], row["dst_port"]) == (1418, 1418, 443)


@pytest.mark.parametrize("first", [0x40, 0x44, 0x4F])
def test_an_ipv4_header_of_odd_length_keeps_its_addresses(first: int) -> None:
    row = _one(ethernet(bytes([first]) + ipv4(tcp())[1:]))
    assert (row["src_addr"], row["protocol"], row.get("src_port")) == (pack_address("10.0.0.1"), 6, None)


@pytest.mark.parametrize("size", [0, 2, 255])
def test_a_chain_of_extension_headers_without_end_has_no_ports(size: int) -> None:
    chain = (bytes((0, size)) + bytes(6)) * 14
    row = _one(ethernet(ipv6(chain + tcp(), next_header=0), 0x86DD))
    assert (row["src_addr"], row.get("src_port")) == (pack_address("2001:db8::1"), None)


def test_later_fragments_have_no_ports() -> None:
    four = _one(ethernet(ipv4(tcp(), offset=100)))
    six = _one(ethernet(ipv6(bytes((6, 0)) + struct.pack(">H", 100 << 3) + bytes(4) + tcp(), next_header=44), 0x86DD))
    for row in (four, six):
        assert (row["protocol"], row.get("src_port"), row.get("tcp_flags"), row["fragment_offset"]) == (6, None, None, 100)


@pytest.mark.parametrize(
    ("protocol", "payload", "found"),
    [
        (17, _UDP, {"src_port": 5000, "dst_port": 53}),
        (132, _UDP, {"src_port": 5000, "dst_port": 53}),
        (33, _UDP, {"src_port": 5000, "dst_port": 53}),
        (136, _UDP, {"src_port": 5000, "dst_port": 53}),
        (1, b"\x03\x05\0\0", {"icmp_type": 3, "icmp_code": 5}),
        (58, b"\x80\x05\0\0", {"icmp_type": 128, "icmp_code": 5}),
        (50, _UDP, {"src_port": None}),
    ],
)
def test_transports(protocol: int, payload: bytes, found: dict[str, int | None]) -> None:
    row = _one(ethernet(ipv4(payload, protocol)))
    assert {name: row.get(name) for name in found} == found


def test_pppoe_and_snap_carry_ip_too() -> None:
    session = ethernet(struct.pack(">BBHHH", 0x11, 0, 1, 1402, 0x0021) + ipv4(tcp()), 0x8864)
    snap = MAC_B + MAC_A + struct.pack(">H", 1408) + bytes.fromhex("aaaa030000000800") + ipv4(tcp())
    assert _one(session)["dst_port"] == _one(snap)["dst_port"] == 443
    six = ethernet(struct.pack(">BBHHH", 0x11, 0, 1, 1402, 0x0057) + ipv6(tcp()), 0x8864)
    assert (_one(six)["dst_port"], _one(six)["ip_version"]) == (443, 6)


@pytest.mark.parametrize("protocol", [11, 12])
def test_headers_without_a_link_layer(protocol: int) -> None:
    assert _one((ipv4 if protocol == 11 else ipv6)(tcp()), protocol)["dst_port"] == 443


@pytest.mark.parametrize("cut", range(len(ethernet_ipv4_tcp())))
def test_a_head_cut_anywhere_keeps_what_it_has(cut: int) -> None:
    whole, row = _one(ethernet_ipv4_tcp()), _one(ethernet_ipv4_tcp()[:cut])
    ends = {"dst_mac": 6, "src_mac": 12, "tos": 16, "min_ttl": 23, "protocol": 24, "src_addr": 30, "dst_addr": 34, "src_port": 36}
    for name, end in {**ends, "dst_port": 38, "tcp_flags": 48}.items():
        assert row.get(name) == (whole[name] if cut >= end else None), name
    assert (row["l2_bytes"], row["packets"]) == (1418, 1)


def test_plain_ip_records_stand_in_for_a_missing_head() -> None:
    four = item(3, struct.pack(">II4s4sIIII", 900, 17, bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), 5000, 53, 0, 0xB8))
    six = item(4, struct.pack(">II16s16sIIII", 901, 6, b"\x20" * 16, b"\x21" * 16, 40000, 443, 0x12, 0))
    rows = Line().take(sflow(flow_sample(four), flow_sample(six)))
    assert [(row["bytes"], row["protocol"], row["dst_port"]) for row in rows] == [(900, 17, 53), (901, 6, 443)]
    assert [row["ip_version"] for row in rows] == [4, 6]
    assert [row["tcp_flags"] for row in rows] == [None, 0x12]


def test_an_mpls_record_stands_in_for_a_missing_stack() -> None:
    stack = struct.pack(">I4sIII", 1, bytes((10, 0, 2, 1)), 2, 1001 << 12 | 64, 1002 << 12 | 1 << 8) + struct.pack(">I", 0)
    rows = Line().take(sflow(flow_sample(item(1006, stack)), flow_sample(item(1006, stack[:12]))))
    assert [(row["mpls_labels"], row["next_hop"]) for row in rows] == [
        ([1001, 1002], pack_address("10.0.2.1")),
        (None, pack_address("10.0.2.1")),
    ]


def test_ethernet_and_nat_records() -> None:
    frame = item(2, struct.pack(">I6sxx6sxxI", 80, MAC_A, MAC_B, 0x0800))
    nat = item(1007, struct.pack(">I4sI16s", 1, bytes((203, 0, 113, 1)), 2, b"\x20" * 16))
    (row,) = Line().take(sflow(flow_sample(frame, nat)))
    assert (row["l2_bytes"], row["src_mac"], row["dst_mac"]) == (80, MAC_A, MAC_B)
    assert (row["nat_src_addr"], row["nat_dst_addr"]) == (pack_address("203.0.113.1"), b"\x20" * 16)


_INNER = ipv4(tcp(), ends=bytes((172, 16, 0, 1, 172, 16, 0, 2)))


@pytest.mark.parametrize(
    "outer",
    [
        ipv4(_INNER, 4),
        ipv4(struct.pack(">HH", 0, 0x0800) + _INNER, 47),
        ipv4(struct.pack(">HHI", 0x2000, 0x0800, 9) + _INNER, 47),
        ipv4(struct.pack(">HHIII", 0xB000, 0x0800, 0, 9, 1) + _INNER, 47),
        ipv4(struct.pack(">HHI", 0x2000, 0x6558, 9) + ethernet(_INNER), 47),
        ipv4(struct.pack(">HHHHII", 5000, 4789, 0, 0, 0x08000000, 77 << 8) + ethernet(_INNER), 17),
        ipv4(struct.pack(">HHHHBBHII", 5000, 6081, 0, 0, 1, 0, 0x6558, 77 << 8, 0) + ethernet(_INNER), 17),
    ],
    ids=["ipip", "gre", "gre with key", "gre with all options", "nvgre", "vxlan", "geneve"],
)
def test_the_flow_inside_a_tunnel_is_taken_where_it_is_wanted(outer: bytes) -> None:
    plain, inner = _one(ethernet(outer)), _one(ethernet(outer), inner_flow=True)
    assert plain["src_addr"] == pack_address("10.0.0.1")
    assert (inner["src_addr"], inner["dst_port"], inner["protocol"]) == (pack_address("172.16.0.1"), 443, 6)
    assert (inner["src_mac"], inner["in_if"]) == (MAC_A, 5)


@pytest.mark.parametrize("outer", [ipv4, ipv6])
def test_packets_of_the_other_family_are_inside_tunnels_too(outer: Callable[..., bytes]) -> None:
    kind = 0x0800 if outer is ipv4 else 0x86DD
    for protocol, inside, address in ((41, ipv6(tcp()), "2001:db8::1"), (4, _INNER, "172.16.0.1")):
        row = _one(ethernet(outer(inside, protocol), kind), inner_flow=True)
        assert (row["src_addr"], row["dst_port"], row["protocol"]) == (pack_address(address), 443, 6)
        gre = _one(ethernet(outer(struct.pack(">HH", 0, 0x86DD if protocol == 41 else 0x0800) + inside, 47), kind), inner_flow=True)
        assert (gre["src_addr"], gre["dst_port"]) == (pack_address(address), 443)


def test_a_tunnel_that_is_cut_is_the_flow_outside() -> None:
    whole = ethernet(ipv4(_INNER, 4))
    for cut in range(34, len(whole)):
        row = _one(whole[:cut], inner_flow=True)
        assert row["src_addr"] == pack_address("172.16.0.1" if cut >= 54 else "10.0.0.1")


def _counters(index: int = 9, octets: int = 1 << 40) -> bytes:
    return item(1, struct.pack(">IIQIIQIIIIIIQIIIIII", index, 6, 10**10, 1, 3, octets, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0))


@pytest.mark.parametrize("head", [(2, struct.pack(">III", 1, 9, 2)), (4, struct.pack(">IIII", 1, 0, 9, 2))])
def test_counter_samples_become_readings_of_interfaces(head: tuple[int, bytes]) -> None:
    line = Line()
    assert line.take(sflow(item(head[0], head[1] + item(2, bytes(52)) + _counters()))) == []
    (reading,) = line.decoder.take_interface_readings()
    counters = reading.counters
    assert (reading.exporter, reading.received_ms, counters.if_index, counters.speed) == (EXPORTER, NOW_MS, 9, 10**10)
    assert (counters.in_octets, counters.in_errors, counters.out_octets, counters.out_discards) == (1 << 40, 5, 7, 11)
    assert line.decoder.take_interface_readings() == []


def test_readings_are_in_the_order_of_arrival_and_go_out_with_the_report() -> None:
    line = Line()
    for number in range(20):
        line.now_ms += 1
        sample = item(2, struct.pack(">III", number, 9, 2) + _counters(number, octets=1000 * number) + _counters(100 + number))
        line.feed(sflow(sample, sequence=number), exporter=pack_address(f"192.0.2.{number * 37 % 20}"))
    line.rows()
    reports = [report for lane in line.decoder.reports(line.now_ms).values() for report in lane]
    assert line.decoder.take_interface_readings() == []
    found = {
        report.exporter: [(it.received_ms, it.if_index, it.in_octets, it.speed) for it in report.interfaces] for report in reports
    }
    assert found == {
        pack_address(f"192.0.2.{number * 37 % 20}"): [
            (NOW_MS + number + 1, number, 1000 * number, 10**10),
            (NOW_MS + number + 1, 100 + number, 1 << 40, 10**10),
        ]
        for number in range(20)
    }
    for number in (3, 1, 2):
        line.feed(
            sflow(item(2, struct.pack(">III", 1, 9, 1) + _counters(number)), sequence=9), exporter=bytes(15) + bytes([number])
        )
    line.rows()
    assert [reading.counters.if_index for reading in line.decoder.take_interface_readings()] == [3, 1, 2]


def test_readings_beyond_the_bound_push_out_the_oldest_and_are_counted() -> None:
    line = Line()
    records = b"".join(_counters(index) for index in range(600))
    for number in range(READINGS_KEPT // 600 + 2):
        line.feed(sflow(item(2, struct.pack(">III", number, 9, 600) + records), sequence=number))
    line.rows()
    lost = (READINGS_KEPT // 600 + 2) * 600 - READINGS_KEPT
    ((report,),) = line.decoder.reports(line.now_ms).values()
    assert len(report.interfaces) == READINGS_KEPT
    assert (dict(report.problems), line.problems()) == ({"readings_dropped": lost}, {"readings_dropped": lost})


def _gateway_of(path: bytes, rest: bytes = b"", address: bytes = struct.pack(">I4s", 1, bytes(4))) -> dict[str, object]:
    record = item(1003, address + struct.pack(">III", 1, 2, 3) + path + rest)
    (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), record)))
    return {name: row.get(name) for name in ("as_path", "dst_as", "dst_peer_as", "src_as", "dst_communities", "local_pref")}


def test_an_as_path_that_is_empty_or_cut_costs_what_follows_it_alone() -> None:
    known: dict[str, object] = {"as_path": [], "dst_as": 0, "dst_peer_as": 0, "src_as": 2, "dst_communities": [], "local_pref": 7}
    assert _gateway_of(struct.pack(">I", 0), struct.pack(">II", 0, 7)) == known
    assert _gateway_of(struct.pack(">I", 0), struct.pack(">II", 0, 7), struct.pack(">I16s", 2, bytes(16))) == known
    unknown = dict.fromkeys(known) | {"src_as": 2}
    assert _gateway_of(struct.pack(">IIII", 1, 2, 5, 65010)) == unknown
    assert _gateway_of(struct.pack(">II", 2, 2)) == unknown
    assert _gateway_of(struct.pack(">I", 0xFFFFFFFF)) == unknown
    cut = {**known, "as_path": [65010], "dst_as": 65010, "dst_peer_as": 65010, "dst_communities": None, "local_pref": None}
    assert _gateway_of(struct.pack(">IIII", 1, 2, 1, 65010), struct.pack(">II", 3, 1)) == cut


def test_paths_of_many_samples_stay_with_their_samples() -> None:
    def record(number: int) -> bytes:
        path = b"".join(struct.pack(">II", 2, size) + struct.pack(f">{size}I", *range(size)) for size in range(number % 4))
        head = struct.pack(">I4sIII", 1, bytes(4), 1, 2, 3)
        return item(1003, head + struct.pack(">I", number % 4) + path + struct.pack(">III", 1, number, number))

    line = Line()
    samples = [flow_sample(*([record(number)] if number % 3 else []), raw_header(ethernet_ipv4_tcp())) for number in range(30)]
    rows = line.take(sflow(*samples[:17], sequence=1), sflow(*samples[17:], sequence=2))
    paths = [[[], [], [0], [0, 0, 1]][number % 4] if number % 3 else None for number in range(30)]
    assert [row["as_path"] for row in rows] == paths
    assert [(row["dst_communities"], row["local_pref"]) for row in rows] == [
        ([number], number) if number % 3 else (None, None) for number in range(30)
    ]


def test_tunnels_that_the_agent_took_off_or_puts_on() -> None:
    outer4 = struct.pack(">II4s4sIIII", 100, 47, bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2)), 0, 0, 0, 0)
    outer6 = struct.pack(">II16s16sIIII", 100, 17, bytes(15) + b"\x01", bytes(15) + b"\x02", 5, 4789, 0, 0)
    ethernet_record = struct.pack(">I8s8sI", 100, MAC_A + bytes(2), MAC_B + bytes(2), 0x0800)
    records = [
        item(1022, ethernet_record),
        item(1021, ethernet_record[:4] + MAC_B + bytes(2)),
        item(1024, outer4),
        item(1025, outer6),
        item(1029, struct.pack(">I", 70)),
        item(1030, bytes(4)),
    ]
    (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), *records)))
    assert (row["tunnel_in_src_mac"], row["tunnel_in_dst_mac"]) == (MAC_A, MAC_B)
    assert (row["tunnel_out_src_mac"], row.get("tunnel_out_dst_mac")) == (MAC_B, None)
    names = [f"tunnel_{side}_{end}" for side in ("in", "out") for end in ("src_addr", "dst_addr", "protocol")]
    assert [row[name] for name in names] == [
        *(pack_address("10.9.0.1"), pack_address("10.9.0.2"), 47),
        *(pack_address("::1"), pack_address("::2"), 17),
    ]
    assert (row["vni_in"], row["vni_out"]) == (0, 70)
    assert (row["src_addr"], row["src_mac"], row["bytes"]) == (pack_address("10.0.0.1"), MAC_A, 1400)


def test_the_payload_that_the_agent_points_to_is_the_flow_inside() -> None:
    outer = ipv4(struct.pack(">HHHH", 2152, 2152, 60, 0) + bytes(8) + _INNER, protocol=17)
    records = (raw_header(ethernet(outer)), item(1027, struct.pack(">I", 14 + 20 + 8 + 8)))
    wanted = ExporterSettings(networks=("192.0.2.0/24",), inner_flow=True)
    (plain,) = Line().take(sflow(flow_sample(*records)))
    (inside,) = Line(Ingest(exporter_settings=(wanted,))).take(sflow(flow_sample(*records)))
    (beyond,) = Line(Ingest(exporter_settings=(wanted,))).take(sflow(flow_sample(records[0], item(1028, b"\xff" * 4))))
    assert (plain["src_addr"], plain["protocol"]) == (pack_address("10.0.0.1"), 17)
    assert (inside["src_addr"], inside["dst_port"], inside["protocol"]) == (pack_address("172.16.0.1"), 443, 6)
    assert (beyond["src_addr"], beyond["protocol"]) == (pack_address("10.0.0.1"), 17)


def test_ports_of_a_translation_have_a_record_of_their_own() -> None:
    (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), item(1020, struct.pack(">II", 4000, 4001)))))
    assert (row["nat_src_port"], row["nat_dst_port"]) == (4000, 4001)


@pytest.mark.parametrize("head", [b"\xff\x03\0\x21", b"\0\x21"], ids=["address and control", "compressed"])
def test_heads_of_point_to_point_links_and_of_mpls(head: bytes) -> None:
    row = _one(head + ipv4(tcp()), protocol=7)
    assert (row["src_addr"], row["dst_port"]) == (pack_address("10.0.0.1"), 443)
    row = _one(struct.pack(">I", 1001 << 12 | 1 << 8 | 64) + ipv4(tcp()), protocol=13)
    assert (row["mpls_labels"], row["dst_port"]) == ([1001], 443)


def _numbered(sequence: int, *samples: tuple[int, int]) -> bytes:
    """A datagram of flow samples with (data source, its number)."""
    made = [flow_sample(raw_header(ethernet_ipv4_tcp()), source=source, number=number) for source, number in samples]
    return sflow(*made, sequence=sequence)


def _sequence_of(line: Line) -> SequenceReport:
    line.rows()
    ((report,),) = line.decoder.reports(line.now_ms).values()
    (sequence,) = report.sequences
    return sequence


def test_lost_samples_are_known_by_the_numbers_of_their_sources() -> None:
    line = Line()
    line.feed(_numbered(1, (5, 10), (5, 11), (6, 100)), _numbered(3, (5, 14), (6, 103)))
    found = _sequence_of(line)
    assert (found.unit, found.received, found.missing, found.missing_flows) == ("datagrams", 2, 1, 4)
    line.feed(_numbered(4, (5, 15)), _numbered(5, (6, 104)))
    found = _sequence_of(line)
    assert (found.received, found.missing, found.missing_flows) == (2, 0, 0)


def test_sub_agents_have_sequences_of_their_own() -> None:
    line = Line()
    sample = flow_sample(raw_header(ethernet_ipv4_tcp()))
    for number in range(3):
        line.feed(
            sflow(sample, sequence=100 + number, sub_agent=1), sflow(sample, sequence=7 + 2 * number, sub_agent=2, agent=bytes(16))
        )
    rows = line.rows()
    ((report,),) = line.decoder.reports(line.now_ms).values()
    assert {item.domain: (item.received, item.missing) for item in report.sequences} == {1: (3, 0), 2: (3, 2)}
    assert {row["exporter_addr"] for row in rows} == {EXPORTER}
    assert {row["observation_domain"] for row in rows} == {1, 2}


def test_samples_that_come_late_are_not_missing() -> None:
    line = Line()
    line.feed(_numbered(1, (5, 1)), _numbered(3, (5, 3)), _numbered(4, (5, 4)))
    line.rows()
    line.feed(_numbered(2, (5, 2)), _numbered(8, (5, 8)))
    found = _sequence_of(line)
    assert (found.received, found.missing, found.reordered, found.missing_flows) == (5, 3, 1, 3)


def test_an_agent_that_starts_again_or_numbers_otherwise_loses_nothing() -> None:
    line = Line()
    line.feed(_numbered(1, (5, 5_000_000)), _numbered(2, (5, 0xFFFFFFFF)), _numbered(3, (5, 0), (5, 1)), _numbered(5, (5, 2)))
    assert _sequence_of(line).missing_flows == 0
    line.feed(*(_numbered(6 + number, (5, 1)) for number in range(4)), _numbered(10, (5, 500)))
    assert _sequence_of(line).missing_flows == 0


def test_a_sample_that_claims_too_much_costs_itself() -> None:
    line = Line()
    good = flow_sample(raw_header(ethernet_ipv4_tcp()))
    rows = line.take(
        sflow(good, struct.pack(">II", 1, 5000) + bytes(12)), sflow(good, sequence=2, count=3), b"\0\0\0\x05\0\0\0\x09"
    )
    assert len(rows) == 2
    assert line.problems() == {"sample_malformed": 2, "truncated_header": 1}
    places = [(item.reason.value, item.offset) for item in line.decoder.problems()]
    assert sorted(places) == [("sample_malformed", 28 + len(good)), ("sample_malformed", 28 + len(good)), ("truncated_header", 4)]


def test_samples_beyond_those_that_are_read_are_counted() -> None:
    line = Line()
    good = flow_sample(raw_header(ethernet_ipv4_tcp()))
    assert len(line.take(sflow(*[item(77, b"")] * 1023, good, good))) == 1
    assert line.problems() == {"sample_malformed": 1}
    many = [item(77, b"")] * 1100
    assert [row.get("src_addr") for row in line.take(sflow(flow_sample(*many, raw_header(ethernet_ipv4_tcp())), sequence=2))] == [
        None
    ]


def test_a_gateway_record_that_is_cut_keeps_what_comes_before() -> None:
    address = struct.pack(">I4s", 1, bytes((10, 0, 3, 1)))
    for words, found in ((0, (None, None)), (1, (None, None)), (2, (7, None)), (3, (7, 8))):
        record = item(1003, address + struct.pack(">III", 6, 7, 8)[: 4 * words])
        (row,) = Line().take(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), record, item(77, b"\5" * 40))))
        assert (row["bgp_next_hop"], row.get("src_as"), row.get("src_peer_as")) == (pack_address("10.0.3.1"), *found)


def test_samples_of_other_enterprises_and_unknown_records_are_skipped() -> None:
    line = Line()
    unknown = item(4413 << 12 | 1, bytes(20))
    (row,) = line.take(sflow(unknown, flow_sample(item(2207, bytes(8)), raw_header(ethernet_ipv4_tcp()))))
    assert row["dst_port"] == 443
    assert line.problems() == {}


def test_flows_of_both_families_of_protocols_keep_their_order() -> None:
    line = Line()
    for number in range(6):
        line.feed(sflow(*[flow_sample(raw_header(ethernet_ipv4_tcp()))] * (number % 3), sequence=number), exporter=OTHER)
        line.feed(netflow5(record5(), sequence=number))
        line.feed(netflow5(record5(), sequence=number), exporter=OTHER)
    rows = [row for row in line.rows() if row["exporter_addr"] == OTHER]
    assert [row["flow_seq_num"] for row in rows] == [0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 5]


def test_settings_of_exporters_are_read_from_their_networks() -> None:
    settings = ExporterSettings(networks=("192.0.2.1",), inner_flow=True)
    line = Line(Ingest(exporter_settings=(settings,)))
    sample = sflow(flow_sample(raw_header(ethernet(ipv4(_INNER, 4)))))
    line.feed(sample)
    line.feed(sample, exporter=OTHER)
    assert {row["exporter_addr"]: row["protocol"] for row in line.rows()} == {EXPORTER: 6, OTHER: 4}
