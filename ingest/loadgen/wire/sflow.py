"""sFlow v5 datagrams: header, flow samples and counter samples (sFlow Version 5, sflow.org, 2004).

In: rows that are one sampled packet each, and what their agent counts. Out: octets. A sample is laid out once with every part that
any has; a mask then leaves out what this one lacks (a VLAN tag, the other address family, words of the expanded form, octets of the
packet beyond HEAD_OCTETS), so that samples of all kinds are encoded together. Refuses to know which samples share a datagram.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from common.addresses import pack_address
from ingest.loadgen.records import Ints, Rows
from ingest.loadgen.services import ICMP, ICMP6, SCTP, TCP, UDP

HEAD_OCTETS: Final = 128
"""Octets of a packet that are copied at most."""
_MAPPED: Final = pack_address("0.0.0.0")[:12]
_WORD: Final = 0xFFFFFFFF
_FLOW, _COUNTERS, _FLOW_EXPANDED, _COUNTERS_EXPANDED = 1, 2, 3, 4
_RAW, _SWITCH, _ROUTER, _GATEWAY = 1, 1001, 1002, 1003
_INTERFACE_COUNTERS: Final = 1
_ITEM_HEAD: Final = 8
_FCS: Final = 4
_SHORTEST_FRAME: Final = 64
_OWN_AS, _PEER_AS, _TRANSIT_AS = 64_512, 64_496, 64_500  # private use and documentation (RFC 6996, RFC 5398)
_COMMUNITIES: Final = (_PEER_AS << 16 | 100, _PEER_AS << 16 | 200)
_TTL: Final = 63

_IP4: Final = (
    *(("ip4_version", "u1"), ("ip4_tos", "u1"), ("ip4_length", ">u2"), ("ip4_id", ">u2"), ("ip4_fragment", ">u2")),
    *(("ip4_ttl", "u1"), ("ip4_protocol", "u1"), ("ip4_checksum", ">u2"), ("ip4_src", "u1", 4), ("ip4_dst", "u1", 4)),
)
_IP6: Final = (
    *(("ip6_first", ">u4"), ("ip6_length", ">u2"), ("ip6_next", "u1"), ("ip6_hops", "u1")),
    *(("ip6_src", "u1", 16), ("ip6_dst", "u1", 16)),
)
_SAMPLE: Final = np.dtype(
    [
        *(("kind", ">u4"), ("length", ">u4"), ("sequence", ">u4"), ("source_class", ">u4"), ("source", ">u4")),
        *(("rate", ">u4"), ("pool", ">u4"), ("drops", ">u4")),
        *(("in_form", ">u4"), ("in_if", ">u4"), ("out_form", ">u4"), ("out_if", ">u4"), ("records", ">u4")),
        *(("switch", ">u4"), ("switch_length", ">u4")),
        *(("in_vlan", ">u4"), ("in_priority", ">u4"), ("out_vlan", ">u4"), ("out_priority", ">u4")),
        *(("router", ">u4"), ("router_length", ">u4")),
        *(("hop_kind", ">u4"), ("hop4", "u1", 4), ("hop6", "u1", 16), ("src_mask", ">u4"), ("dst_mask", ">u4")),
        *(("gateway", ">u4"), ("gateway_length", ">u4"), ("bgp_hop_kind", ">u4"), ("bgp_hop4", "u1", 4), ("bgp_hop6", "u1", 16)),
        *(("own_as", ">u4"), ("src_as", ">u4"), ("src_peer_as", ">u4"), ("segments", ">u4"), ("segment_kind", ">u4")),
        *(("path_length", ">u4"), ("transit_as", ">u4"), ("dst_as", ">u4")),
        *(("community_count", ">u4"), ("communities", ">u4", 2), ("preference", ">u4")),
        *(("raw", ">u4"), ("raw_length", ">u4")),
        *(("link", ">u4"), ("frame_length", ">u4"), ("stripped", ">u4"), ("head_length", ">u4")),
        *(("dst_mac", "u1", 6), ("src_mac", "u1", 6), ("tag_type", ">u2"), ("tag", ">u2"), ("ether_type", ">u2")),
        *(*_IP4, *_IP6, ("transport", "u1", 20), ("payload", "u1", HEAD_OCTETS - 54)),
    ]
)


def _place(name: str) -> int:
    return int(_SAMPLE.fields[name][1]) if _SAMPLE.fields else 0


_EXPANDED: Final = tuple(slice(_place(name), _place(name) + 4) for name in ("source_class", "in_form", "out_form"))
_NARROW: Final = (
    slice(_place("hop4"), _place("hop6")),
    slice(_place("bgp_hop4"), _place("bgp_hop6")),
    slice(_place("ip4_version"), _place("ip6_first")),
)
_WIDE: Final = (
    slice(_place("hop6"), _place("src_mask")),
    slice(_place("bgp_hop6"), _place("own_as")),
    slice(_place("ip6_first"), _place("transport")),
)
_TAG: Final = slice(_place("tag_type"), _place("ether_type"))
_HEAD: Final = slice(_place("dst_mac"), _SAMPLE.itemsize)
_CONSTANTS: Final = {
    "records": 4,
    "switch": _SWITCH,
    "switch_length": 16,
    "router": _ROUTER,
    "gateway": _GATEWAY,
    "own_as": _OWN_AS,
    "src_peer_as": _PEER_AS,
    "segments": 1,
    "segment_kind": 2,  # AS_SEQUENCE
    "path_length": 2,
    "transit_as": _TRANSIT_AS,
    "community_count": len(_COMMUNITIES),
    "communities": _COMMUNITIES,
    "preference": 100,
    "raw": _RAW,
    "link": 1,  # ETHERNET-ISO88023
    "stripped": _FCS,
}
_COUNTED: Final = (
    *(("kind", ">u4"), ("length", ">u4"), ("sequence", ">u4"), ("source_class", ">u4"), ("source", ">u4"), ("records", ">u4")),
    *(("record", ">u4"), ("record_length", ">u4"), ("if_index", ">u4"), ("if_type", ">u4"), ("speed", ">u8")),
    *(("duplex", ">u4"), ("status", ">u4"), ("in_octets", ">u8"), ("in_packets", ">u4"), ("in_others", ">u4", 5)),
    *(("out_octets", ">u8"), ("out_packets", ">u4"), ("out_others", ">u4", 4), ("promiscuous", ">u4")),
)
_COUNTED_CONSTANTS: Final = {
    "records": 1,
    "record": _INTERFACE_COUNTERS,
    "record_length": 88,
    "if_type": 6,  # ethernetCsmacd
    "speed": 1_000_000_000,
    "duplex": 1,
    "status": 3,  # administratively and really up
}
LONGEST_COUNTERS: Final = 120
"""Octets of an expanded counter sample."""
LONGEST_SAMPLE: Final = _HEAD.start + HEAD_OCTETS - 2 * 4
"""Octets of an expanded sample of a tagged IPv6 packet."""


def _forms() -> npt.NDArray[np.bool_]:
    """Octets of a sample by its form: expanded + 2 x IPv6 + 4 x tagged."""
    forms = np.ones((8, _SAMPLE.itemsize), dtype=bool)
    for form in range(8):
        expanded, six, tagged = form & 1, form >> 1 & 1, form >> 2
        absent = [*(() if expanded else _EXPANDED), *(_NARROW if six else _WIDE), *(() if tagged else (_TAG,))]
        for place in absent:
            forms[form, place] = False
    return forms


_FORMS: Final = _forms()
_RANKS: Final = np.cumsum(_FORMS[:, _HEAD], axis=1, dtype=np.uint8)
"""The place of each octet among those of its head, from 1 on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What agents say beside each row: the number of the sample at its source, the packets that could have been sampled there,
    samples given up there so far, the rate, and whether the form is the expanded one."""

    sequence: Ints
    pool: Ints
    drops: Ints
    rate: Ints
    expanded: npt.NDArray[np.bool_]


def header(agent: bytes, sub_agent: int, sequence: int, uptime_ms: int, samples: int) -> bytes:
    """The header of a datagram; `agent` is an address of 16 octets, IPv4 or not."""
    mapped = agent[:12] == _MAPPED
    counts = struct.pack("!IIII", sub_agent, sequence & _WORD, uptime_ms & _WORD, samples)
    return struct.pack("!II", 5, 1 if mapped else 2) + (agent[12:] if mapped else agent) + counts


def frame_octets(rows: Rows) -> Ints:
    """Length of each packet's frame as sFlow counts it: with its tag and checksum, at least 64."""
    octets: Ints = rows["bytes"].astype(np.int64) + 14 + _FCS + 4 * is_tagged(rows)
    return np.maximum(octets, _SHORTEST_FRAME)


def is_tagged(rows: Rows) -> npt.NDArray[np.bool_]:
    """Frames with a VLAN tag: those of interfaces with an odd number, which are trunks."""
    tagged: npt.NDArray[np.bool_] = rows["in_if"] % 2 == 1
    return tagged


def source_of(rows: Rows) -> Ints:
    """The interface at which each packet was sampled."""
    return np.where(rows["direction"] == 1, rows["out_if"], rows["in_if"]).astype(np.int64)


def encode_samples(rows: Rows, told: Told) -> tuple[bytes, Ints]:
    """Flow samples end to end, and the octets before each of them and after the last. `bytes` of a row is the length of an IP
    packet, at least that of its headers; source port and destination port of ICMP are not looked at."""
    samples = np.zeros(len(rows), dtype=_SAMPLE)
    for name, value in _CONSTANTS.items():
        samples[name] = value
    six, frames = rows["ip_version"] == 6, frame_octets(rows)
    copied = np.minimum(frames - _FCS, HEAD_OCTETS)
    samples["frame_length"], samples["head_length"] = frames, copied
    _put_sample(samples, rows, told)
    _put_routing(samples, rows, six)
    _put_packet(samples, rows, six)
    kept = _kept(rows, told, six, copied)
    sizes = kept.sum(axis=1)
    samples["length"] = sizes - _ITEM_HEAD
    samples["raw_length"] = 16 + (copied + 3 & ~3)
    octets = samples.view(np.uint8).reshape(len(rows), _SAMPLE.itemsize)
    return octets[kept].tobytes(), np.concatenate([[0], np.cumsum(sizes)])


def encode_counters(if_index: Ints, sequence: int, totals: Mapping[str, npt.NDArray[np.uint64]], expanded: bool) -> list[bytes]:
    """A counter sample with generic interface counters (RFC 2863) for each interface; `totals` are in_ and out_octets and _packets,
    the latter cut to 32 bits as the format has it. All packets count as unicast, none as faulty."""
    fields = [field for field in _COUNTED if expanded or field[0] != "source_class"]
    samples = np.zeros(len(if_index), dtype=np.dtype(fields))
    for name, value in _COUNTED_CONSTANTS.items():
        samples[name] = value
    samples["kind"] = _COUNTERS_EXPANDED if expanded else _COUNTERS
    samples["length"] = samples.dtype.itemsize - _ITEM_HEAD
    samples["sequence"] = sequence & _WORD
    samples["source"] = samples["if_index"] = if_index
    for name, total in totals.items():
        samples[name] = total & np.uint64(_WORD) if name.endswith("packets") else total
    return [sample.tobytes() for sample in samples]


def _put_sample(samples: Rows, rows: Rows, told: Told) -> None:
    samples["kind"] = np.where(told.expanded, _FLOW_EXPANDED, _FLOW)
    samples["source"] = source_of(rows)
    for name in ("sequence", "pool", "drops", "rate"):
        samples[name] = getattr(told, name) & _WORD
    for name in ("in_if", "out_if"):
        samples[name] = rows[name]


def _put_routing(samples: Rows, rows: Rows, six: npt.NDArray[np.bool_]) -> None:
    """Extended switch, router and gateway data (section 5.3: opaque records 1001 to 1003)."""
    samples["router_length"] = np.where(six, 28, 16)
    samples["gateway_length"] = np.where(six, 68, 56)
    for end in ("in", "out"):
        samples[f"{end}_vlan"] = rows["vlan"]
        samples[f"{end}_priority"] = rows["tos"] >> 5
    for hop in ("hop", "bgp_hop"):
        samples[f"{hop}_kind"] = np.where(six, 2, 1)
        samples[f"{hop}4"] = rows["next_hop"][:, 12:]
        samples[f"{hop}6"] = rows["next_hop"]
    for name in ("src_mask", "dst_mask", "src_as", "dst_as"):
        samples[name] = rows[name]


def _put_packet(samples: Rows, rows: Rows, six: npt.NDArray[np.bool_]) -> None:
    """The frame: Ethernet, VLAN tag (IEEE 802.1Q), IPv4 (RFC 791) or IPv6 (RFC 8200), transport, zeros."""
    for name, mark in (("src_mac", "in_if"), ("dst_mac", "out_if")):
        samples[name][:, 0] = 2  # locally administered
        samples[name][:, 2:] = _octets(rows[mark], 4)
    samples["tag_type"], samples["tag"] = 0x8100, (rows["tos"] >> 5).astype(np.uint16) << 13 | rows["vlan"]
    samples["ether_type"] = np.where(six, 0x86DD, 0x0800)
    _put_ipv4(samples, rows)
    samples["ip6_first"] = 6 << 28 | rows["tos"].astype(np.int64) << 20 | rows["src_port"].astype(np.int64) << 4
    samples["ip6_length"] = np.where(six, rows["bytes"].astype(np.int64) - 40, 0)
    samples["ip6_next"], samples["ip6_hops"] = rows["protocol"], _TTL
    samples["ip6_src"], samples["ip6_dst"] = rows["src_addr"], rows["dst_addr"]
    samples["transport"] = _transport(rows, rows["bytes"].astype(np.int64) - np.where(six, 40, 20))


def _put_ipv4(samples: Rows, rows: Rows) -> None:
    samples["ip4_version"], samples["ip4_tos"], samples["ip4_length"] = 0x45, rows["tos"], rows["bytes"]
    samples["ip4_id"], samples["ip4_fragment"] = rows["src_port"] ^ rows["dst_port"], 0x4000  # do not fragment
    samples["ip4_ttl"], samples["ip4_protocol"] = _TTL, rows["protocol"]
    samples["ip4_src"], samples["ip4_dst"] = rows["src_addr"][:, 12:], rows["dst_addr"][:, 12:]
    octets = samples.view(np.uint8).reshape(len(rows), _SAMPLE.itemsize)
    words = np.ascontiguousarray(octets[:, _NARROW[2]]).view(">u2").astype(np.int64)
    total = words.sum(axis=1)  # RFC 1071
    total = (total & 0xFFFF) + (total >> 16)
    samples["ip4_checksum"] = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _transport(rows: Rows, length: Ints) -> npt.NDArray[np.uint8]:
    """(rows, 20) octets after the IP header; checksums are left out, as where a card computes them later."""
    protocol = rows["protocol"]
    made = np.zeros((len(rows), 20), dtype=np.uint8)
    made[:, 0:2], made[:, 2:4] = _octets(rows["src_port"], 2), _octets(rows["dst_port"], 2)
    tcp, udp, sctp = protocol == TCP, protocol == UDP, protocol == SCTP
    made[tcp, 7] = made[tcp, 11] = 1
    made[tcp, 12:14] = _octets(0x5000 | rows["tcp_flags"][tcp], 2)
    made[tcp, 14:16] = 0xFF
    made[udp, 4:6] = _octets(length[udp], 2)
    made[sctp, 7] = 1
    icmp = (protocol == ICMP) | (protocol == ICMP6)
    made[icmp] = 0
    made[icmp, 0] = np.where(protocol[icmp] == ICMP6, 128, 8)  # echo request (RFC 792, RFC 4443)
    return made


def _octets(numbers: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.uint8]:
    return numbers.astype(f">u{width}").view(np.uint8).reshape(-1, width)


def _kept(rows: Rows, told: Told, six: npt.NDArray[np.bool_], copied: Ints) -> npt.NDArray[np.bool_]:
    """Which octets of the whole layout each sample has; the copied head is filled up to four octets."""
    form = told.expanded + 2 * six + 4 * is_tagged(rows)
    kept: npt.NDArray[np.bool_] = _FORMS[form]
    kept[:, _HEAD] &= _RANKS[form] <= (copied + 3 & ~3).astype(np.uint8)[:, None]
    return kept
