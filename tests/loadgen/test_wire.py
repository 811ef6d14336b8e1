"""Octets, written out by hand from the documents that define them."""

import numpy as np

from ingest.loadgen.wire import ipfix, netflow5, netflow9
from ingest.loadgen.wire.fields import VARIABLE, Field, Layout, Shape, encode_rows, flow_layout
from tests.loadgen.rows import FULL, one_flow


def test_netflow5_record() -> None:
    record = netflow5.encode_rows(one_flow(FULL), np.array([1_000]), np.array([2_500]))
    assert record == bytes.fromhex(
        "0a000001 c0000209 ac100001"  # addresses, next hop
        "0003 0007"  # interfaces
        "00000032 00011170"  # packets, octets
        "000003e8 000009c4"  # first, last
        "01bb c350"  # ports
        "00 1b 06 2a"  # pad, flags, protocol, tos
        "fc00 5ba0"  # 64512; 196615 does not fit: AS_TRANS
        "18 14 0000"
    )


def test_netflow5_header() -> None:
    assert netflow5.header(30, 0x1_0000_0005, 1_767_225_600_789, 2**32 + 9, engine=0x0102, sampling_interval=100) == bytes.fromhex(
        "0005 001e 00000005 6955b900 2f072f40 00000009 01 02 4064"
    )


def test_netflow5_header_of_an_exporter_that_does_not_sample() -> None:
    assert netflow5.header(1, 0, 0, 0, 0, sampling_interval=1)[-2:] == b"\0\0"


def test_netflow9_header_has_whole_seconds() -> None:
    assert netflow9.header(3, 5_000, 1_767_225_600_999, 7, 42) == bytes.fromhex("0009 0003 00001388 6955b900 00000007 0000002a")


def test_netflow9_templates() -> None:
    layout = Layout(256, (Field(8, 4, "src_addr"), Field(7, 2, "src_port")))
    assert netflow9.template_flowset([layout]) == bytes.fromhex("0000 0010 0100 0002 0008 0004 0007 0002")
    assert netflow9.options_template_flowset(512, (Field(1, 4),), (Field(34, 4), Field(35, 1))) == bytes.fromhex(
        "0001 0018 0200 0004 0008 0001 0004 0022 0004 0023 0001 0000"  # lengths in octets; two octets of padding
    )


def test_netflow9_data_is_padded_to_32_bits() -> None:
    assert netflow9.flowset(256, b"\x01\x02\x03\x04\x05") == bytes.fromhex("0100 000c 0102030405 000000")
    assert netflow9.flowset(256, b"\x01\x02\x03\x04") == bytes.fromhex("0100 0008 01020304")


def test_ipfix_header_and_sets() -> None:
    assert ipfix.header(20, 1_767_225_600_999, 2**32 + 1, 3) == bytes.fromhex("000a 0014 6955b900 00000001 00000003")
    layout = Layout(257, (Field(27, 16, "src_addr"),))
    assert ipfix.template_set([layout]) == bytes.fromhex("0002 000c 0101 0001 001b 0010")
    assert ipfix.options_template_set(514, (Field(10, 4),), (Field(82, VARIABLE),)) == bytes.fromhex(
        "0003 0012 0202 0002 0001 000a 0004 0052 ffff"  # counts of fields: all, scope
    )
    assert ipfix.record_set(257, b"\xff" * 5) == bytes.fromhex("0101 0009 ffffffffff")


def test_ipfix_variable_length() -> None:
    assert ipfix.variable(b"Gi0/1") == b"\x05Gi0/1"
    assert ipfix.variable(b"x" * 254)[:2] == b"\xfex"
    assert ipfix.variable(b"x" * 300)[:4] == b"\xff\x01\x2cx"


def test_record_of_netflow9() -> None:
    layout = flow_layout(Shape(9, "uptime", directed=True, sampling="sampler", timeouts="none"), 4, 256)
    beside = {"first_uptime": np.array([1_000]), "last_uptime": np.array([2_500]), "sampler": np.array([1])}
    assert encode_rows(layout, one_flow(FULL), beside) == bytes.fromhex(
        "0a000001 c0000209 ac100001 18 14"  # 8 12 15 9 13
        "01bb c350 06 2a 00000003 00000007 0065 04"  # 7 11 4 5 10 14 58 60
        "00011170 00000032 1b"  # 1 2 6
        "0000fc00 00030007"  # 16 17
        "000003e8 000009c4 01 01"  # 22 21 61 48
    )
    assert [field.element for field in layout.fields] == [
        8,
        12,
        15,
        9,
        13,
        7,
        11,
        4,
        5,
        10,
        14,
        58,
        60,
        1,
        2,
        6,
        16,
        17,
        22,
        21,
        61,
        48,
    ]


def test_record_of_ipfix_with_ipv6_and_timeouts() -> None:
    layout = flow_layout(Shape(10, "milliseconds", directed=False, sampling="record", timeouts="record"), 6, 257)
    beside = {
        "first_ms": np.array([1_767_225_599_000]),
        "last_ms": np.array([1_767_225_600_000]),
        "sampling_interval": np.array([64]),
        "active_timeout_s": np.array([60]),
        "inactive_timeout_s": np.array([15]),
    }
    row = one_flow(FULL | {"ip_version": 6}, "2001:db8::1", "2001:db8::2", "fe80::1")
    assert encode_rows(layout, row, beside) == bytes.fromhex(
        "20010db8000000000000000000000001 20010db8000000000000000000000002 fe800000000000000000000000000001 18 14"
        "01bb c350 06 2a 00000003 00000007 0065 06"
        "0000000000011170 0000000000000032 001b 03"
        "0000fc00 00030007"
        "0000019b76daa418 0000019b76daa800"  # 152 153
        "00000040 003c 000f"  # 34 36 37
    )
