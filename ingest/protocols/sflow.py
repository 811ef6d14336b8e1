"""sFlow v5: datagram header, samples, counter records, and the records of all flow samples in lockstep.

In: octets. Out: the header, where the samples are, interface counters, and per record type where its bodies are. A sample or record
that claims more than there is keeps what is there. Source: sFlow Version 5 (sflow.org, 2004), sFlow Discarded Packet Notification
Structures (2020). Refuses to know columns.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.problems import Reason
from ingest.protocols.message import Fault, Header

VERSION: Final = 105
FLOW, COUNTERS, FLOW_EXPANDED, COUNTERS_EXPANDED, DISCARDED = 1, 2, 3, 4, 5
FLOW_SAMPLES: Final = (FLOW, FLOW_EXPANDED, DISCARDED)
FIXED_OCTETS: Final = {FLOW: 32, FLOW_EXPANDED: 44, DISCARDED: 32, COUNTERS: 12, COUNTERS_EXPANDED: 16}
"""Octets of a sample before its records, by sample type of enterprise 0."""
MAX_RECORDS: Final = 512
"""Records that are read of one sample; real ones have fewer than ten."""
_ADDRESS_OCTETS: Final = {1: 4, 2: 16}
_HEAD: Final = struct.Struct(">II")
_TAIL: Final = struct.Struct(">IIII")
_PAIR: Final = struct.Struct(">II")
_INTERFACE: Final = struct.Struct(">IIQIIQIIIIIIQIIIIII")
_INTERFACE_COUNTERS: Final = 1
Longs = NDArray[np.int64]


class Sample(NamedTuple):
    """One sample of enterprise 0: where its body starts and stops."""

    kind: int
    start: int
    stop: int


class InterfaceCounters(NamedTuple):
    """Generic interface counters (ifTable, RFC 2863) as an agent sent them."""

    if_index: int
    if_type: int
    speed: int
    direction: int
    status: int
    in_octets: int
    in_unicast: int
    in_multicast: int
    in_broadcast: int
    in_discards: int
    in_errors: int
    in_unknown: int
    out_octets: int
    out_unicast: int
    out_multicast: int
    out_broadcast: int
    out_discards: int
    out_errors: int
    promiscuous: int


def parse_header(payload: bytes, received_ms: int) -> Header | Fault:
    """Header of a datagram; it has no time of export, so that is the receive time. `domain` is the sub-agent."""
    if len(payload) < 8:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, an sFlow header has at least 28")
    _, kind = _HEAD.unpack_from(payload)
    size = _ADDRESS_OCTETS.get(kind)
    if size is None:
        return Fault(Reason.TRUNCATED_HEADER, 4, f"agent address of type {kind}, which is neither IPv4 nor IPv6")
    start = _HEAD.size + size + _TAIL.size
    if len(payload) < start:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, this sFlow header has {start}")
    sub_agent, sequence, uptime, samples = _TAIL.unpack_from(payload, _HEAD.size + size)
    engine = sub_agent if sub_agent < 256 else -1
    return Header(VERSION, samples, uptime, received_ms, sequence, sub_agent, start, len(payload), -1, engine)


def agent_address(payload: bytes) -> bytes:
    """The agent's address in its 16-octet form, of a datagram with a valid header."""
    size = _ADDRESS_OCTETS[int.from_bytes(payload[4:8])]
    return payload[8:24] if size == 16 else bytes(10) + b"\xff\xff" + payload[8:12]


def walk_samples(payload: bytes, header: Header) -> tuple[list[Sample], list[Fault]]:
    """Samples of the known types; one that claims more than the datagram has is cut to what is there."""
    samples: list[Sample] = []
    faults: list[Fault] = []
    offset, end = header.start, header.end
    for number in range(header.records):
        if offset + 8 > end:
            text = f"{header.records} samples after the header, the datagram has {number}"
            faults.append(Fault(Reason.SAMPLE_MALFORMED, offset, text))
            break
        kind, length = _PAIR.unpack_from(payload, offset)
        start, stop = offset + 8, offset + 8 + (length + 3 & ~3)
        if stop > end:
            faults.append(Fault(Reason.SAMPLE_MALFORMED, offset, f"sample of {length} octets, {end - start} are left", kind))
            stop = end
        if kind in FIXED_OCTETS:
            if stop - start >= FIXED_OCTETS[kind]:
                samples.append(Sample(kind, start, stop))
            else:
                faults.append(Fault(Reason.SAMPLE_MALFORMED, offset, f"sample of {length} octets is too short", kind))
        offset = stop
    return samples, faults


def read_counters(payload: bytes, sample: Sample) -> list[InterfaceCounters]:
    """Generic interface counters of a counter sample; other counter records are skipped."""
    found: list[InterfaceCounters] = []
    offset = sample.start + FIXED_OCTETS[sample.kind]
    while offset + 8 <= sample.stop:
        kind, length = _PAIR.unpack_from(payload, offset)
        if kind == _INTERFACE_COUNTERS and offset + 8 + _INTERFACE.size <= sample.stop:
            found.append(InterfaceCounters(*_INTERFACE.unpack_from(payload, offset + 8)))
        offset += 8 + (length + 3 & ~3)
    return found


class Records(NamedTuple):
    """Records of one type: the number of the sample that each is in, and where its body starts and stops."""

    sample: Longs
    start: Longs
    stop: Longs


def walk_records(words: NDArray[np.uint32], start: Longs, stop: Longs) -> dict[int, Records]:
    """Records of all flow samples by type; `words` reads four octets at any place, samples' records are at [start, stop)."""
    place, live = start.copy(), np.arange(len(start))
    found: dict[int, list[Records]] = {}
    last = len(words) - 8
    for _ in range(MAX_RECORDS):
        live = live[place[live] + 8 <= stop[live]]
        if not live.size:
            break
        at = np.minimum(place[live], last)
        kinds, lengths = words[at], words[at + 4].astype(np.int64)
        ends = np.minimum(at + 8 + lengths, stop[live])
        for kind in np.unique(kinds).tolist():
            chosen = kinds == kind
            found.setdefault(kind, []).append(Records(live[chosen], at[chosen] + 8, ends[chosen]))
        place[live] = at + 8 + (lengths + 3 & ~3)
    return {kind: Records(*(np.concatenate(parts) for parts in zip(*items, strict=True))) for kind, items in found.items()}
