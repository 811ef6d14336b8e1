"""sFlow samples to columns: each flow sample is one flow of one packet, seen when it was received.

In: octets of all datagrams of a drain and where their flow samples are. Out: columns of FLOW. Values of the sampled header come
first, then the fixed IPv4 and IPv6 records; VLANs of the switch record before the header's tag. Counters are those of the one
packet; the sampling interval is its own column, so it cannot be applied twice. Refuses to know state.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flowpb.schema import Direction, SamplingSource
from ingest.assembly import Assembly, Where
from ingest.columns_of_routes import put_routes
from ingest.protocols import packet_header, sflow
from ingest.protocols.packet_header import ETHERNET, IPV4, IPV6, Heads, Known
from ingest.samples import Bools, Longs, Samples, Target

_INTERNAL: Final = 0x3FFFFFFF
_COUNT_BASED: Final = 1
_DROPPED: Final = 128
"""forwardingStatus (89): dropped, no reason given."""
_RAW, _ETHERNET, _IPV4, _IPV6 = 1, 2, 3, 4
_PAYLOAD_AT: Final = (1027, 1028)
"""Where in the sampled header a tunnel's payload starts."""


def put_samples(samples: Samples, out: Assembly, rows: Longs, received: Longs, inner: Bools) -> None:
    """All columns of flow samples; `rows` are their positions, `inner` tells for which the flow inside a tunnel is wanted."""
    target = Target(out, rows, inner)
    for name in ("first_switched_ms", "delta_switched_ms", "last_switched_ms"):
        out.put(name, target.where(None), received)
    _put_fixed(samples, target)
    fixed = np.array([sflow.FIXED_OCTETS.get(kind, 0) for kind in range(6)])
    limits = np.full(len(samples.start), sflow.MAX_ITEMS)
    records, _ = sflow.walk(samples.words, samples.start + fixed[samples.kind], samples.stop, limits)
    for kind, put in ((_ETHERNET, _put_ethernet), (_IPV6, _put_ipv6), (_IPV4, _put_ipv4), (_RAW, _put_raw)):
        if kind in records:
            put(samples, records[kind], target)
    for kind in _PAYLOAD_AT:
        if kind in records and _RAW in records:
            _put_payload(samples, records[kind], records[_RAW], target)
    put_routes(samples, records, target)


def _put_fixed(samples: Samples, target: Target) -> None:
    """Interfaces, direction, sampling. A packet sampled at its output, or at one of its many outputs, is an egress flow there."""
    kind = samples.kind
    dropped, expanded = kind == sflow.DISCARDED, kind == sflow.FLOW_EXPANDED
    fixed = samples.fixed
    source_class, source = fixed.source_class, fixed.source
    rate = np.where(dropped, 0, fixed.rate)
    in_form, in_if = _interface(fixed.input, fixed.input_form, expanded)
    out_form, out_if = _interface(fixed.output, fixed.output_form, expanded)
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


def _put_ethernet(samples: Samples, records: sflow.Items, target: Target) -> None:
    whole = records.start + 24 <= records.stop
    length = samples.word(records.start)
    target.put("l2_bytes", records, length, np.uint64, whole & _counted(samples, records))
    target.put("bytes", records, length, np.uint64, whole & _counted(samples, records))
    octets = packet_header.Octets(samples.data, records.stop)
    for name, place in (("src_mac", 4), ("dst_mac", 12)):
        target.put(name, records, octets.take(records.start + place, 6), np.uint8, whole)


def _put_ipv4(samples: Samples, records: sflow.Items, target: Target) -> None:
    whole = records.start + 32 <= records.stop
    rows = target.where(records)
    for name, place in (("src_addr", 8), ("dst_addr", 12)):
        target.out.put_narrow(name, rows, samples.word(records.start + place).astype(np.uint32), whole)
    _put_ip_record(samples, records, target, 16, whole)
    target.put("ip_version", records, np.full(len(whole), 4), np.uint8, whole)


def _put_ipv6(samples: Samples, records: sflow.Items, target: Target) -> None:
    whole = records.start + 56 <= records.stop
    rows = target.where(records)
    octets = packet_header.Octets(samples.data, records.stop)
    for name, place in (("src_addr", 8), ("dst_addr", 24)):
        target.out.put_wide(name, rows, octets.take_address(records.start + place), whole)
    _put_ip_record(samples, records, target, 40, whole)
    target.put("ip_version", records, np.full(len(whole), 6), np.uint8, whole)


def _put_ip_record(samples: Samples, records: sflow.Items, target: Target, ports: int, whole: Bools) -> None:
    target.put("bytes", records, samples.word(records.start), np.uint64, whole & _counted(samples, records))
    protocol = samples.word(records.start + 4)
    target.put("protocol", records, protocol, np.uint8, whole)
    with_ports = whole & np.isin(protocol, (6, 17, 33, 132, 136))
    target.put("src_port", records, samples.word(records.start + ports), np.uint16, with_ports)
    target.put("dst_port", records, samples.word(records.start + ports + 4), np.uint16, with_ports)
    target.put("tcp_flags", records, samples.word(records.start + ports + 8), np.uint16, whole & (protocol == 6))
    target.put("tos", records, samples.word(records.start + ports + 12), np.uint8, whole)


def _put_raw(samples: Samples, records: sflow.Items, target: Target) -> None:
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


def _put_payload(samples: Samples, records: sflow.Items, raw: sflow.Items, target: Target) -> None:
    """The flow inside a tunnel that the agent points to, where it is wanted: an offset into the sampled header of its sample."""
    header = np.full(len(samples.start), -1)
    header[raw.owner] = np.arange(len(raw.owner))
    wanted = target.inner[records.owner] & (header[records.owner] >= 0) & (records.start + 4 <= records.stop)
    if not wanted.any():
        return
    owner, offset = records.owner[wanted], samples.word(records.start[wanted])
    sampled = raw.start[header[owner]]
    stop = np.minimum(sampled + 16 + samples.word(sampled + 12), raw.stop[header[owner]])
    start = np.minimum(sampled + 16 + offset, stop)
    nibble = packet_header.Octets(samples.data, stop).read(start, 1) >> 4
    kind = np.select([nibble == 4, nibble == 6], [IPV4, IPV6], ETHERNET)
    heads = parse_inner(samples.data, start, stop, kind)
    told = start + 20 <= stop
    put_heads(heads, target.out, target.rows[owner], told)


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
    known = np.stack([label.rows[labelled] for label in labels], axis=1)
    values = np.stack([label.values[labelled] for label in labels], axis=1)[known]
    out.put_lists("mpls_labels", np.arange(out.rows)[rows][labelled], known.sum(axis=1), values)
