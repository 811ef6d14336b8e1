"""sFlow v5: datagram header, samples, counter records, and the records of all flow samples in lockstep.

In: octets. Out: the header, where samples and records of each type are, interface counters. A sample or record that claims more
than there is keeps what is there. Source: sFlow Version 5 (sflow.org, 2004), sFlow Discarded Packet Notification
Structures (2020). Refuses to know columns.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.problems import Reason
from ingest.protocols.message import Fault, Header, Headers, Longs, make_header

VERSION: Final = 105
FLOW, COUNTERS, FLOW_EXPANDED, COUNTERS_EXPANDED, DISCARDED = 1, 2, 3, 4, 5
FLOW_SAMPLES: Final = (FLOW, FLOW_EXPANDED, DISCARDED)
COUNTER_SAMPLES: Final = (COUNTERS, COUNTERS_EXPANDED)
FIXED_OCTETS: Final = {FLOW: 32, FLOW_EXPANDED: 44, DISCARDED: 32, COUNTERS: 12, COUNTERS_EXPANDED: 16}
"""Octets of a sample before its records, by sample type of enterprise 0."""
MAX_ITEMS: Final = 1024
"""Samples of a datagram and records of a sample that are read; real ones have fewer than a hundred."""
LEAST_SAMPLE: Final = 8
"""Octets that a sample takes at least."""
_START: Final = {b"\0\0\0\x01": 28, b"\0\0\0\x02": 40}
"""Octets of a header by the type of its agent address."""
_TAIL: Final = struct.Struct(">IIII")
_PAIR: Final = struct.Struct(">II")
_INTERFACE: Final = struct.Struct(">IIQIIQIIIIIIQIIIIII")
_INTERFACE_COUNTERS: Final = 1


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
    start = _START.get(payload[4:8])
    if start is None:
        return Fault(Reason.TRUNCATED_HEADER, 4, f"agent address of type {payload[4:8].hex()}, which is neither IPv4 nor IPv6")
    if len(payload) < start:
        return Fault(Reason.TRUNCATED_HEADER, 0, f"{len(payload)} octets, this sFlow header has {start}")
    sub_agent, sequence, uptime, samples = _TAIL.unpack_from(payload, start - _TAIL.size)
    return make_header((VERSION, samples, uptime, received_ms, sequence, sub_agent, start, len(payload), 0))


def read_headers(words: Longs, lengths: Longs) -> Headers:
    """Headers of sFlow datagrams, from their first words (word, datagram): plain with an agent's address of either kind."""
    narrow, wide = words[1] == 1, words[1] == 2
    sub_agent, sequence, uptime, samples = np.where(narrow, words[3:7], words[6:10])
    start, none = np.where(narrow, 28, 40), np.zeros(len(lengths), np.int64)
    return Headers((narrow | wide).astype(np.int64), samples, uptime, none, sequence, sub_agent, start, lengths, none, none)


def agent_address(payload: bytes) -> bytes:
    """The agent's address in its 16-octet form, of a datagram with a valid header."""
    return payload[8:24] if _START[payload[4:8]] == 40 else bytes(10) + b"\xff\xff" + payload[8:12]


class Items(NamedTuple):
    """Samples, or records, of one type: the number of what each is in, and where its body starts and stops; `whole`: not cut."""

    owner: Longs
    start: Longs
    stop: Longs
    whole: NDArray[np.bool_]


def walk(words: NDArray[np.uint32], start: Longs, stop: Longs, limit: Longs) -> tuple[dict[int, Items], Longs]:
    """Items (type, length, body) between start and stop of many owners in lockstep, at most `limit` of each; and how many each had.

    Places are those of octets and multiples of four, to which XDR (RFC 4506) pads everything; `words` are those at each of them.
    The k-th items of all owners are read at once; one that claims more than is left is cut.
    """
    owner, at = np.arange(len(start)), start
    seen = np.zeros(len(start), np.int64)
    found: dict[int, list[Items]] = {}
    for number in range(MAX_ITEMS):
        live = (limit > number) & (at + 8 <= stop)
        if not live.all():
            seen[owner[~live]] = number
            owner, at, stop, limit = owner[live], at[live], stop[live], limit[live]
        if not owner.size:
            break
        word = at >> 2
        kinds, lengths = words.take(word).astype(np.int64), words.take(word + 1).astype(np.int64)
        begins = at + 8
        ends = begins + lengths
        whole = ends <= stop
        items = Items(owner, begins, ends if whole.all() else np.minimum(ends, stop), whole)
        first = int(kinds[0])
        if (kinds == first).all():
            found.setdefault(first, []).append(items)
        else:
            for kind in np.unique(kinds).tolist():
                found.setdefault(kind, []).append(Items(*(part[kinds == kind] for part in items)))
        at = begins + (lengths + 3 & ~3)
    else:
        seen[owner] = MAX_ITEMS
    return {kind: Items(*(np.concatenate(parts) for parts in zip(*items, strict=True))) for kind, items in found.items()}, seen


def read_counters(data: bytes, start: int, stop: int) -> list[InterfaceCounters]:
    """Generic interface counters among the counter records at [start, stop); others are skipped."""
    found: list[InterfaceCounters] = []
    offset = start
    while offset + 8 <= stop:
        kind, length = _PAIR.unpack_from(data, offset)
        if kind == _INTERFACE_COUNTERS and offset + 8 + _INTERFACE.size <= stop:
            found.append(InterfaceCounters(*_INTERFACE.unpack_from(data, offset + 8)))
        offset += 8 + (length + 3 & ~3)
    return found
