"""Captures that no part of this was written against, field by field with what tshark says of them."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.protocols import tshark

_FOLDER: Final = Path(__file__).parents[1] / "data" / "captures"
_CAPTURES: Final = sorted(path.stem for path in _FOLDER.glob("*.pcap"))


_RECORDS: Final = {
    "ipfix-cisco-avc": (56, 0),
    "ipfix-many-records": (7, 0),
    "ipfix-softflowd": (22, 0),
    "sflow-goflow2": (9, 0),
    "sflow-gopacket": (21, 3),
    "sflow-print-v6": (13, 48),
    "sflow_multiple_counter_30_pdus": (7, 142),
    "v9-flow-label": (3, 0),
    "v9-goflow2": (21, 0),
    "v9-options": (30, 0),
    "v9-own-template": (9, 0),
    "v9-softflowd": (8, 0),
}
"""Flows and readings of each: with reverse halves and what has no ends, which are no flows in tshark's text."""


@pytest.mark.parametrize("name", _CAPTURES)
def test_every_field_that_tshark_names_is_the_same(name: str) -> None:
    said = json.loads((_FOLDER / f"{name}.json").read_text())
    ours = tshark.said_by_us(_FOLDER / f"{name}.pcap")
    assert said["flows"] or said["counters"]
    assert _RECORDS[name] == (len(ours[0]), len(ours[1]))
    assert tshark.differences(said["flows"], ours[0]) == tshark.differences(said["counters"], ours[1]) == []


def test_a_field_that_is_not_the_same_is_told() -> None:
    said = [{"src_addr": "10.0.0.1", "bytes": 5}, {"src_addr": "10.0.0.2", "bytes": 7}]
    assert tshark.differences(said, [{**said[0], "packets": 1}, {**said[1], "bytes": 8}]) == [
        "record 2: {'src_addr': '10.0.0.2', 'bytes': 7}; nearest differs in {'bytes': (7, 8)}"
    ]
    assert len(tshark.differences(said, [])) == 2


def test_the_text_of_tshark_becomes_records() -> None:
    text = """
    pdu 1/1
        SrcAddr: 0.0.0.0
        SrcAddr: 2001:db8::1
        Octets: 60
        Octets: 70 (Reverse Type 1 BYTES)
        TCP Flags: 0x12, ACK, SYN
        Protocol: TCP (6)
    Flow sample, seq 3
        Sampling rate: 1 out of 512 packets
        Input interface (ifIndex): 1073741823
        Source Port: 80
    Counters sample, seq 4
        Generic interface counters
            Interface index: 7
            Input Errors: 2
    Flow 2
        Packets: 9
    """
    flows, counters = tshark.parse(text.splitlines())
    assert flows == [
        {"src_addr": "2001:db8::1", "bytes": 60, "tcp_flags": 0x12, "protocol": 6},
        {"sampling_interval": 512.0, "in_if": None, "src_port": 80},
    ]
    assert counters == [{"if_index": 7, "in_errors": 2}]
