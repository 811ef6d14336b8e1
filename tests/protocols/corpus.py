"""The corpus of real export packets: loading it, decoding a case, and judging flows and option records by its canonical names."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from common.addresses import format_address, pack_address
from common.config import Ingest
from common.metrics import Counters
from flowpb.schema import ProtocolVersion
from ingest.decoder import Datagram, Decoder, InterfaceReading
from ingest.tables import OptionRow

PATH: Final = Path(__file__).parent.parent / "data" / "corpus" / "public.jsonl"
RECEIVED_MS: Final = 1_800_000_000_000
Record = dict[str, Any]

_SAME: Final = (
    *("src_port", "dst_port", "protocol", "bytes", "packets", "in_if", "out_if", "src_as", "dst_as", "src_mask", "dst_mask"),
    *("tos", "tcp_flags", "ip_version", "direction", "flow_label", "vrf_in", "vrf_out", "forwarding_status", "icmp_type"),
    "icmp_code",
)
_COLUMN: Final = {
    **{name: name for name in _SAME},
    "src_vlan": "vlan",
    "dst_vlan": "vlan_out",
    "bytes_total": "bytes",
    "packets_total": "packets",
    "start": "first_switched_ms",
    "end": "last_switched_ms",
}
_ADDRESS: Final = {
    **{name: name for name in ("src_addr", "dst_addr", "next_hop", "bgp_next_hop")},
    "post_nat_src_addr": "nat_src_addr",
    "post_nat_dst_addr": "nat_dst_addr",
}
_END_REASONS: Final = {"idletimeout": 1, "activetimeout": 2, "endofflowdetected": 3, "forcedend": 4, "lackofresources": 5}
_OPTION_ELEMENT: Final = {
    "vrf_in": 234,
    "vrf_out": 235,
    "in_if": 10,
    "out_if": 14,
    "bytes": 1,
    "packets": 2,
    "sampling_packet_interval": 305,
    "sampling_packet_space": 306,
    "sampling_interval": 34,
}
_FLOW_KEYS: Final = frozenset(("src_addr", "dst_addr", "src_port", "dst_port", "start", "bytes", "packets", "src_as"))
_SLIPS_MS: Final = {"logstash-codec-netflow": 1000}
"""This source forgets to borrow a second where the export time's fraction is less than that of the uptime's difference."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram of the corpus with what is known of it."""

    proto: str
    exporter: bytes
    payload: bytes
    expect: str
    scope: str
    expected: tuple[Record, ...]
    expected_count: int | None
    slip_ms: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of one datagram: flows as rows, option records, and of sFlow counter samples their number and readings."""

    flows: list[Record]
    options: list[OptionRow]
    readings: list[InterfaceReading] = field(default_factory=list)
    counter_samples: int = 0


@cache
def cases() -> dict[str, tuple[Packet, ...]]:
    """The packets of each case, by `source: case`."""
    found: dict[str, list[Packet]] = {}
    for line in PATH.read_text(encoding="utf-8").splitlines():
        tree = json.loads(line)
        address = tree["exporter"].rsplit(":", 1)[0].strip("[]")
        packet = Packet(
            tree["proto"],
            pack_address(address),
            bytes.fromhex(tree["payload_hex"]),
            tree["expect"],
            tree.get("scope", "packet"),
            tuple(tree.get("expected") or ()),
            tree.get("expected_count"),
            _SLIPS_MS.get(tree["source"], 0),
        )
        found.setdefault(f"{tree['source']}: {tree['case']}", []).append(packet)
    return {name: tuple(packets) for name, packets in found.items()}


def decode_case(packets: tuple[Packet, ...], counters: Counters | None = None) -> Iterator[tuple[Packet, Decoded]]:
    """Each packet of a case with what came of it, in one decoder."""
    counters = counters or Counters()
    decoder = Decoder(Ingest(), 16, counters)
    seen = sampled = 0
    for number, packet in enumerate(packets):
        decoder.feed(Datagram(packet.exporter, RECEIVED_MS + number, packet.payload))
        flows = [row for batch in decoder.drain().values() for row in batch.to_pylist()]
        options = decoder.option_records()
        total = counters.value("ingest_option_records_total", protocol="sflow5")
        yield packet, Decoded(flows, options[seen:], decoder.take_interface_readings(), total - sampled)
        seen, sampled = len(options), total
    decoder.reports(RECEIVED_MS)


def is_flow(record: Record) -> bool:
    """Whether an expected record is a flow; the corpus lists option records among them."""
    return not _FLOW_KEYS.isdisjoint(record) or "out_if" in record


def reading_agrees(expected: Record, reading: InterfaceReading) -> bool:
    """Whether an interface's counters are those expected: sources show its ifIndex as in_if, its ifInOctets as bytes."""
    counters = reading.counters
    return (expected.get("in_if", counters.if_index), expected.get("bytes")) == (counters.if_index, counters.in_octets)


def disagreements(expected: Record, flow: Record, slip_ms: int = 0) -> list[str]:
    """Every judged key in which a flow differs from what is expected of it."""
    judged = ((key, _judge(key, value, flow, expected, slip_ms)) for key, value in expected.items())
    return [text for _, text in judged if text is not None]


def option_agrees(expected: Record, option: OptionRow) -> bool:
    """Whether an option record has the values that are expected of it, as far as they are elements of one meaning."""
    values = {row.id: int.from_bytes(row.octets) for row in option.values if row.pen in (0, 0xFFFFFFFF)}
    judged = {_OPTION_ELEMENT[key]: value for key, value in expected.items() if key in _OPTION_ELEMENT}
    return all(values.get(element, value) == value for element, value in judged.items())


def _judge(key: str, value: Any, flow: Record, expected: Record, slip_ms: int) -> str | None:
    seen: Any
    if key in _ADDRESS:
        seen, value = _text(flow.get(_ADDRESS[key])), format_address(pack_address(value))
        if value == "::" and seen is not None and "." in seen:
            return None  # the record has both families, and the source shows the one that is all zero
    elif key in ("src_mac", "dst_mac"):
        seen = None if flow.get(key) is None else flow[key].hex(":")
    elif key in ("start", "end"):
        return _judge_time(key, value, flow[_COLUMN[key]], slip_ms)
    elif key == "sampling_interval":
        seen, value = flow.get(key), value or None
    elif key == "flow_end_reason":
        seen, value = flow.get(key), _END_REASONS.get(value, value)
    elif key == "icmp_type_code":
        seen = None if flow.get("icmp_type") is None else flow["icmp_type"] << 8 | flow["icmp_code"]
    elif key == "end_uptime":
        seen = flow["last_switched_ms"] - flow["first_switched_ms"]
        value = value - expected["start_uptime"] + ((1 << 32) if value < expected["start_uptime"] else 0)
    elif flow["protocol_version"] == ProtocolVersion.SFLOW_V5 and (
        key == "packets_total" or (key == "in_if" and expected.get("direction")) or (key == "protocol" and not value)
    ):
        return None  # the sample pool; the data source of a packet sampled at its output; an extension header
    elif key in _COLUMN:
        seen = flow.get(_COLUMN[key])
    else:
        return None
    return None if seen == value else f"{key}: {seen}, expected {value}"


def _judge_time(key: str, value: int, seen: int, slip_ms: int) -> str | None:
    """Some sources give seconds, or a FIRST of 0xffffffff as the future."""
    if value < 1 << 32:
        seen = seen // 1000
    if value > seen + (1 << 31):
        value -= 1 << 32
    return None if value - seen in (0, slip_ms) else f"{key}: {seen}, expected {value}"


def _text(packed: bytes | None) -> str | None:
    return None if packed is None else format_address(packed)
