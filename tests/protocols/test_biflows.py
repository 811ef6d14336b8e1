"""Records of both directions: what the flow back has from the other end, what it keeps, and what it does not know."""

import struct
from typing import Final

import pytest

from tests.protocols.wire import Line, ipfix, netflow9, put, template

_REVERSE: Final = 29305
_PAIRS: Final = (
    *((8, 12, 4, "src_addr", "dst_addr"), (27, 28, 16, "src_addr", "dst_addr")),
    *((7, 11, 2, "src_port", "dst_port"), (180, 181, 2, "src_port", "dst_port"), (182, 183, 2, "src_port", "dst_port")),
    *((9, 13, 1, "src_mask", "dst_mask"), (29, 30, 1, "src_mask", "dst_mask"), (16, 17, 4, "src_as", "dst_as")),
    *((10, 14, 4, "in_if", "out_if"), (252, 253, 4, "in_if", "out_if"), (234, 235, 4, "vrf_in", "vrf_out")),
    *((56, 80, 6, "src_mac", "dst_mac"), (81, 57, 6, "src_mac", "dst_mac")),
    *((58, 59, 2, "vlan", "vlan_out"), (243, 254, 2, "vlan", "vlan_out"), (129, 128, 4, "src_peer_as", "dst_peer_as")),
    *((225, 226, 4, "nat_src_addr", "nat_dst_addr"), (281, 282, 16, "nat_src_addr", "nat_dst_addr")),
    (227, 228, 2, "nat_src_port", "nat_dst_port"),
)


@pytest.mark.parametrize(("one", "other", "size", "near", "far"), _PAIRS, ids=lambda value: str(value))
@pytest.mark.parametrize("counters", [((1, 4), (1, 4, _REVERSE)), ((231, 4), (232, 4))], ids=["biflow", "initiator"])
def test_the_flow_back_has_its_ends_exchanged(
    one: int, other: int, size: int, near: str, far: str, counters: tuple[tuple[int, ...], ...]
) -> None:
    ends = bytes(range(1, size + 1)) + bytes(range(101, size + 101))
    fields = ((one, size), (other, size), *counters)
    there, back = Line().take(ipfix(template(256, fields, True), put(256, ends + struct.pack(">II", 500, 60))))
    assert (there["bytes"], back["bytes"]) == (500, 60)
    assert there[near] != there[far]
    assert (back[near], back[far]) == (there[far], there[near])


def test_the_communities_of_the_flow_back_are_exchanged() -> None:
    listed = [bytes([9]) + struct.pack(">BHHI", 3, 483, 4, number) for number in (7, 8)]
    fields = ((484, 65535), (485, 65535), (1, 4), (1, 4, _REVERSE))
    rows = Line().take(ipfix(template(256, fields, True), put(256, b"".join(listed) + struct.pack(">II", 5, 6))))
    assert [(row["src_communities"], row["dst_communities"]) for row in rows] == [([7], [8]), ([8], [7])]


@pytest.mark.parametrize(
    ("element", "column"),
    [
        *((6, "tcp_flags"), (52, "min_ttl"), (53, "max_ttl"), (192, "min_ttl"), (136, "flow_end_reason")),
        *((176, "icmp_type"), (177, "icmp_code"), (178, "icmp_type"), (179, "icmp_code"), (32, "icmp_type"), (139, "icmp_code")),
    ],
)
def test_the_flow_back_has_nothing_that_was_seen_of_the_other(element: int, column: str) -> None:
    fields = ((element, 2), (1, 4), (1, 4, _REVERSE))
    there, back = Line().take(ipfix(template(256, fields, True), put(256, b"\x05\x05" + struct.pack(">II", 5, 6))))
    assert (there[column] & 0xFF, back.get(column)) == (5, None)


@pytest.mark.parametrize(
    ("old", "new", "size", "column"),
    [
        *((40001, 225, 4, "nat_src_addr"), (40002, 226, 4, "nat_dst_addr"), (40003, 227, 2, "nat_src_port")),
        *((40004, 228, 2, "nat_dst_port"), (40005, 233, 1, "firewall_event")),
    ],
)
def test_numbers_of_old_firewalls_mean_the_same(old: int, new: int, size: int, column: str) -> None:
    rows = [
        Line().take(netflow9(template(256, ((8, 4), (number, size))), put(256, bytes(4) + bytes(range(1, size + 1)))))[0]
        for number in (old, new)
    ]
    assert rows[0][column] == rows[1][column] is not None


def test_client_and_server_of_a_connection_are_its_ends() -> None:
    fields = ((12236, 4, 9), (12237, 4, 9), (12240, 2, 9), (12241, 2, 9), (231, 4), (232, 4))
    record = bytes((10, 0, 0, 1, 10, 0, 1, 1)) + struct.pack(">HHII", 40000, 443, 500, 60)
    there, back = Line().take(ipfix(template(256, fields, True), put(256, record)))
    assert (there["src_addr"][-4:], there["dst_addr"][-4:]) == (bytes((10, 0, 0, 1)), bytes((10, 0, 1, 1)))
    assert [(row["src_port"], row["dst_port"], row["bytes"]) for row in (there, back)] == [(40000, 443, 500), (443, 40000, 60)]
