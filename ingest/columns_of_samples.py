"""sFlow samples to columns: each flow sample is one flow of one packet, seen when it was received.

In: octets of all datagrams of a drain and where their flow samples are. Out: columns of FLOW. Values of the sampled header come
first, then the fixed IPv4 and IPv6 records; VLANs of the switch record before the header's tag. Counters are those of the one
packet; the sampling interval is its own column, so it cannot be applied twice. Refuses to know state.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flowpb.schema import Direction, SamplingSource
from ingest.assembly import ALL, Assembly, Where
from ingest.protocols import packet_header, sflow
from ingest.protocols.packet_header import SLACK, Heads, Known

Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]
_INTERNAL: Final = 0x3FFFFFFF
_COUNT_BASED: Final = 1
_DROPPED: Final = 128
"""forwardingStatus (89): dropped, no reason given."""
_RAW, _ETHERNET, _IPV4, _IPV6, _SWITCH, _ROUTER, _GATEWAY, _MPLS, _NAT = 1, 2, 3, 4, 1001, 1002, 1003, 1006, 1007
_LABELS: Final = 10
_SEGMENTS: Final = 32
_FIXED: Final = 44
"""Octets before the records of the longest type of sample."""


def _places(flow: int, expanded: int, discarded: int) -> NDArray[np.int64]:
    """Place of one field in words, by sample type; the arguments are octets."""
    return np.array([0, flow // 4, 0, expanded // 4, 0, discarded // 4])


_SOURCE_CLASS: Final = _places(4, 4, 4)
_SOURCE: Final = _places(4, 8, 8)
_RATE: Final = _places(8, 12, 12)
_INPUT_FORM: Final = _places(20, 24, 16)
_INPUT: Final = _places(20, 28, 16)
_OUTPUT_FORM: Final = _places(24, 32, 20)
_OUTPUT: Final = _places(24, 36, 20)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of datagrams: `data` ends with SLACK octets; kind, datagram, start and stop of each flow sample, in order.

    `counters` are the counter samples (datagram, start, stop); `faults` are (datagram, offset in it) of samples that are cut, too
    short, or missing.
    """

    data: NDArray[np.uint8]
    words: NDArray[np.uint32]
    kind: Longs
    owner: Longs
    start: Longs
    stop: Longs
    counters: tuple[tuple[int, int, int], ...]
    faults: tuple[tuple[int, int], ...]

    def word(self, place: Longs) -> Longs:
        """Four octets at each place."""
        values: Longs = self.words[np.minimum(place, len(self.words) - 1)].astype(np.int64)
        return values

    def fixed(self) -> "_Fixed":
        """The words before the records of each sample."""
        rows = np.lib.stride_tricks.as_strided(self.data, (len(self.data) - _FIXED + 1, _FIXED), (1, 1), writeable=False)
        words = rows[np.minimum(self.start, len(rows) - 1)].view(">u4")
        first = int(self.kind[0]) if len(self.kind) else 0
        return _Fixed(words, self.kind, first if bool((self.kind == first).all()) else None)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Words before the records of samples; `alike` is their type if they are all of one."""

    words: NDArray[np.uint32]
    kind: Longs
    alike: int | None

    def __getitem__(self, places: NDArray[np.int64]) -> Longs:
        """One field, whose place depends on the type of sample."""
        if self.alike is not None:
            values: Longs = self.words[:, places[self.alike]].astype(np.int64)
        else:
            values = self.words[np.arange(len(self.kind)), places[self.kind]].astype(np.int64)
        return values


def make_samples(payloads: list[bytes], starts: Longs, limits: Longs) -> Samples:
    """The samples of datagrams; `starts` are the octets of each one's header, `limits` the samples that it announces."""
    data = np.frombuffer(b"".join((*payloads, bytes(SLACK))), np.uint8)
    words = np.ndarray((len(data) - 3,), ">u4", data.data, strides=(1,))
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    stops = np.cumsum(lengths)
    found, seen = sflow.walk(words, stops - lengths + starts, stops, limits)
    base = stops - lengths
    missing = np.flatnonzero(seen < np.minimum(limits, sflow.MAX_ITEMS))
    faults = list(zip(missing.tolist(), lengths[missing].tolist(), strict=True))
    parts: list[tuple[Longs, sflow.Items]] = []
    counters: list[tuple[int, int, int]] = []
    for kind, octets in sflow.FIXED_OCTETS.items():
        if kind not in found:
            continue
        items = found[kind]
        usable = items.stop - items.start >= octets
        bad = ~(usable & items.whole)
        places = items.start[bad] - 8 - base[items.owner[bad]]
        faults += zip(items.owner[bad].tolist(), places.tolist(), strict=True)
        items = sflow.Items(items.owner[usable], items.start[usable], items.stop[usable], items.whole[usable])
        if kind in sflow.COUNTER_SAMPLES:
            counters += zip(items.owner.tolist(), (items.start + octets).tolist(), items.stop.tolist(), strict=True)
        else:
            parts.append((np.full(len(items.owner), kind), items))
    none = np.zeros(0, np.int64)
    kinds = np.concatenate([none, *(kind for kind, _ in parts)])
    owner = np.concatenate([none, *(items.owner for _, items in parts)])
    start = np.concatenate([none, *(items.start for _, items in parts)])
    stop = np.concatenate([none, *(items.stop for _, items in parts)])
    order = np.argsort(start, kind="stable")
    columns = (kinds[order], owner[order], start[order], stop[order])
    return Samples(data, words, *columns, tuple(counters), tuple(faults))


def put_samples(samples: Samples, out: Assembly, rows: Longs, received: Longs, inner: Bools) -> None:
    """All columns of flow samples; `rows` are their positions, `inner` tells for which the flow inside a tunnel is wanted."""
    target = _Target(out, rows, inner)
    for name in ("first_switched_ms", "delta_switched_ms", "last_switched_ms"):
        out.put(name, target.where(None), received)
    _put_fixed(samples, target)
    fixed = np.array([sflow.FIXED_OCTETS.get(kind, 0) for kind in range(6)])
    limits = np.full(len(samples.start), sflow.MAX_ITEMS)
    records, _ = sflow.walk(samples.words, samples.start + fixed[samples.kind], samples.stop, limits)
    for kind, put in ((_ETHERNET, _put_ethernet), (_IPV6, _put_ipv6), (_IPV4, _put_ipv4), (_RAW, _put_raw)):
        if kind in records:
            put(samples, records[kind], target)
    for kind, put in (
        (_SWITCH, _put_switch),
        (_ROUTER, _put_router),
        (_GATEWAY, _put_gateway),
        (_MPLS, _put_mpls),
        (_NAT, _put_nat),
    ):
        if kind in records:
            put(samples, records[kind], target)


@dataclass(slots=True)
class _Target:
    """Where values of records go: the row of each sample; of `inner` ones the flow inside a tunnel is taken."""

    out: Assembly
    rows: Longs
    inner: Bools
    known: dict[int, Where] = field(default_factory=dict)

    def where(self, records: sflow.Items | None) -> Where:
        """Rows of these records (None: of all samples); as a whole where they are all rows in order, since that is faster."""
        where = self.known.get(id(records))
        if where is None:
            rows = self.rows if records is None else self.rows[records.owner]
            whole = len(rows) == self.out.rows and not (rows != np.arange(len(rows))).any()
            where = self.known[id(records)] = ALL if whole else rows
        return where

    def put(self, name: str, records: sflow.Items | None, values: Any, dtype: Any, valid: Bools | None = None) -> None:
        """Fill a column in the rows of these records."""
        self.out.put(name, self.where(records), np.asarray(values).astype(dtype), valid)


def _put_fixed(samples: Samples, target: _Target) -> None:
    """Interfaces, direction, sampling. A packet sampled at its output, or at one of its many outputs, is an egress flow there."""
    kind = samples.kind
    dropped, expanded = kind == sflow.DISCARDED, kind == sflow.FLOW_EXPANDED
    fixed = samples.fixed()
    source = fixed[_SOURCE]
    source_class = np.where(kind == sflow.FLOW, source >> 24, fixed[_SOURCE_CLASS])
    source = np.where(kind == sflow.FLOW, source & 0xFFFFFF, source)
    rate = np.where(dropped, 0, fixed[_RATE])
    in_form, in_if = _interface(fixed[_INPUT], fixed[_INPUT_FORM], expanded)
    out_form, out_if = _interface(fixed[_OUTPUT], fixed[_OUTPUT_FORM], expanded)
    target.put("in_if", None, in_if, np.uint32, (in_form == 0) & (in_if != _INTERNAL))
    target.put("out_if", None, out_if, np.uint32, (out_form == 0) & (out_if != _INTERNAL))
    at_output = (out_form == 2) & (source > 0) & (source_class == 0) & (source != in_if)
    egress = at_output | (source == out_if) & (out_form == 0)
    target.put("out_if", None, source, np.uint32, at_output)
    target.put("direction", None, np.where(egress, Direction.EGRESS, Direction.INGRESS), np.uint8)
    target.put("forwarding_status", None, np.full(len(kind), _DROPPED), np.uint8, dropped | (out_form == 1))
    target.put("packets", None, np.ones(len(kind)), np.uint64, ~dropped)
    sampled = rate > 0
    target.put("sampling_interval", None, rate, np.float64, sampled)
    target.put("sampling_algorithm", None, np.full(len(kind), _COUNT_BASED), np.uint8, sampled)
    target.put("sampling_source", None, np.where(sampled, SamplingSource.RECORD, SamplingSource.NONE), np.uint8)


def _interface(value: Longs, form: Longs, expanded: Bools) -> tuple[Longs, Longs]:
    """Format and value of an interface: two bits and 30, or a word each; format 0 is an ifIndex, 1 a discard, 2 many."""
    plain = ~expanded & (value != _INTERNAL)
    return np.where(expanded, form, np.where(plain, value >> 30, 0)), np.where(plain, value & _INTERNAL, value)


def _counted(samples: Samples, records: sflow.Items) -> Bools:
    counted: Bools = samples.kind[records.owner] != sflow.DISCARDED
    return counted


def _put_ethernet(samples: Samples, records: sflow.Items, target: _Target) -> None:
    whole = records.start + 24 <= records.stop
    length = samples.word(records.start)
    target.put("l2_bytes", records, length, np.uint64, whole & _counted(samples, records))
    target.put("bytes", records, length, np.uint64, whole & _counted(samples, records))
    octets = packet_header.Octets(samples.data, records.stop)
    for name, place in (("src_mac", 4), ("dst_mac", 12)):
        target.put(name, records, octets.take(records.start + place, 6), np.uint8, whole)


def _put_ipv4(samples: Samples, records: sflow.Items, target: _Target) -> None:
    whole = records.start + 32 <= records.stop
    rows = target.where(records)
    for name, place in (("src_addr", 8), ("dst_addr", 12)):
        target.out.put_narrow(name, rows, samples.word(records.start + place).astype(np.uint32), whole)
    _put_ip_record(samples, records, target, 16, whole)
    target.put("ip_version", records, np.full(len(whole), 4), np.uint8, whole)


def _put_ipv6(samples: Samples, records: sflow.Items, target: _Target) -> None:
    whole = records.start + 56 <= records.stop
    rows = target.where(records)
    octets = packet_header.Octets(samples.data, records.stop)
    for name, place in (("src_addr", 8), ("dst_addr", 24)):
        target.out.put_wide(name, rows, octets.take(records.start + place, 16), whole)
    _put_ip_record(samples, records, target, 40, whole)
    target.put("ip_version", records, np.full(len(whole), 6), np.uint8, whole)


def _put_ip_record(samples: Samples, records: sflow.Items, target: _Target, ports: int, whole: Bools) -> None:
    target.put("bytes", records, samples.word(records.start), np.uint64, whole & _counted(samples, records))
    protocol = samples.word(records.start + 4)
    target.put("protocol", records, protocol, np.uint8, whole)
    with_ports = whole & np.isin(protocol, (6, 17, 33, 132, 136))
    target.put("src_port", records, samples.word(records.start + ports), np.uint16, with_ports)
    target.put("dst_port", records, samples.word(records.start + ports + 4), np.uint16, with_ports)
    target.put("tcp_flags", records, samples.word(records.start + ports + 8), np.uint16, whole & (protocol == 6))
    target.put("tos", records, samples.word(records.start + ports + 12), np.uint8, whole)


def _put_raw(samples: Samples, records: sflow.Items, target: _Target) -> None:
    """Raw packet header: protocol, frame length, octets stripped, and the header itself as far as it was copied."""
    start = records.start + 16
    stop = np.minimum(start + samples.word(records.start + 12), records.stop)
    kind = np.where(records.start + 16 <= records.stop, samples.word(records.start), 0)
    frame = samples.word(records.start + 4)
    counted = _counted(samples, records) & (records.start + 16 <= records.stop)
    wanted = target.inner[records.owner]
    heads = packet_header.parse_heads(samples.data, start, stop, kind, bool(wanted.any()))
    target.put("l2_bytes", records, frame, np.uint64, counted)
    target.put("bytes", records, frame, np.uint64, counted)
    if heads.ip_length is not None:
        target.put("bytes", records, heads.ip_length.values, np.uint64, heads.ip_length.rows & counted)
    if heads.inner is None or heads.inner_kind is None or not (heads.inner.rows & wanted).any():
        put_heads(heads, target.out, target.where(records))
        return
    tunnelled = heads.inner.rows & wanted
    put_heads(heads, target.out, target.where(records), ~tunnelled)
    put_heads(Heads(octets=heads.octets), target.out, target.where(records))
    inside = parse_inner(samples.data, heads.inner.values[tunnelled], stop[tunnelled], heads.inner_kind[tunnelled])
    put_heads(inside, target.out, target.rows[records.owner[tunnelled]])


def parse_inner(data: NDArray[np.uint8], start: Longs, stop: Longs, kind: Longs) -> Heads:
    """Heads inside tunnels; their MAC addresses are not those of the sampled frame and are left out."""
    heads = packet_header.parse_heads(data, start, stop, kind)
    heads.octets.clear()
    return heads


def put_heads(heads: Heads, out: Assembly, rows: Where, only: Bools | None = None) -> None:
    """Columns of sampled packets' heads, at these rows; `only` some of them."""
    for name, known in (heads.numbers | heads.octets).items():
        out.put(name, rows, known.values, _both(known.rows, only))
    for name, known in heads.narrow.items():
        out.put_narrow(name, rows, known.values, _both(known.rows, only))
    for name, known in heads.wide.items():
        out.put_wide(name, rows, known.values, _both(known.rows, only))
    if heads.labels:
        _put_labels(heads.labels, out, rows)


def _both(known: Bools, only: Bools | None) -> Bools:
    return known if only is None else known & only


def _put_labels(labels: list[Known], out: Assembly, rows: Where) -> None:
    labelled = np.flatnonzero(labels[0].rows)
    stacks = [[int(known.values[row]) for known in labels if known.rows[row]] for row in labelled.tolist()]
    out.put_objects("mpls_labels", np.arange(out.rows)[rows][labelled], stacks)


def _put_switch(samples: Samples, records: sflow.Items, target: _Target) -> None:
    for name, place in (("vlan", 0), ("vlan_out", 8)):
        known = records.start + place + 4 <= records.stop
        target.put(name, records, samples.word(records.start + place), np.uint16, known)


def _put_router(samples: Samples, records: sflow.Items, target: _Target) -> None:
    after = _put_address(samples, records, target, "next_hop", records.start)
    for name, place in (("src_mask", 0), ("dst_mask", 4)):
        known = after + place + 4 <= records.stop
        target.put(name, records, samples.word(after + place), np.uint8, known)


def _put_gateway(samples: Samples, records: sflow.Items, target: _Target) -> None:
    """BGP next hop, then own, source and peer AS, then the path to the destination: its last AS is the destination's."""
    after = _put_address(samples, records, target, "bgp_next_hop", records.start)
    target.put("src_as", records, samples.word(after + 4), np.uint32, after + 8 <= records.stop)
    segments, place = samples.word(after + 12), after + 16
    last = np.zeros(len(place), np.int64)
    known = place <= records.stop
    for number in range(_SEGMENTS):
        here = known & (number < segments) & (place + 8 <= records.stop)
        if not here.any():
            break
        count = np.where(here, samples.word(place + 4), 0)
        end = place + 8 + 4 * count
        reached = here & (count > 0) & (end <= records.stop)
        last = np.where(reached, samples.word(end - 4), last)
        place = np.where(here, end, place)
    target.put("dst_as", records, last, np.uint32, known)


def _put_mpls(samples: Samples, records: sflow.Items, target: _Target) -> None:
    """MPLS next hop, then the stack that the packet came with: a count, and entries as in RFC 3032. A header's own is better."""
    after = _put_address(samples, records, target, "next_hop", records.start)
    counts = np.minimum(np.where(after + 4 <= records.stop, samples.word(after), 0), _LABELS)
    counts = np.where(after + 4 + 4 * counts <= records.stop, counts, 0)
    known = target.out.objects.get("mpls_labels")
    rows = target.rows[records.owner]
    for row, place, count in zip(rows.tolist(), (after + 4).tolist(), counts.tolist(), strict=True):
        if count and (known is None or known[row] is None):
            entries = samples.word(place + 4 * np.arange(count)) >> 12
            target.out.put_objects("mpls_labels", np.array([row]), [entries.tolist()])


def _put_nat(samples: Samples, records: sflow.Items, target: _Target) -> None:
    after = _put_address(samples, records, target, "nat_src_addr", records.start)
    _put_address(samples, records, target, "nat_dst_addr", after)


def _put_address(samples: Samples, records: sflow.Items, target: _Target, name: str, place: Longs) -> Longs:
    """An address with its type before it; the place after it."""
    kind = samples.word(place)
    rows = target.where(records)
    narrow = (kind == 1) & (place + 8 <= records.stop)
    wide = (kind == 2) & (place + 20 <= records.stop)
    target.out.put_narrow(name, rows, samples.word(place + 4).astype(np.uint32), narrow)
    if wide.any():
        octets = packet_header.Octets(samples.data, records.stop)
        target.out.put_wide(name, rows, octets.take(place + 4, 16), wide)
    after: Longs = place + np.select([kind == 1, kind == 2], [8, 20], 4)
    return after
