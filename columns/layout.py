"""From flows to parts: judge, scale, spread, take sides, lay out by window.

In: batches of one lane with their marks and frontiers. Out: one packed part per window, not grouped (real traffic repeats a
conversation too seldom inside a bundle for grouping to pay), the refused flows, and exact counts of everything that was changed on
the way. Refuses to know state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints, Mask, Octets, run_ends
from columns.distinct import distinct_pairs
from columns.flows import Flows, read_flows
from columns.interval import Intervals, judge
from columns.judged import Changes, Judged, judged_flows
from columns.limits import Limits
from columns.names import Names, Used, restrict
from columns.packing import Numbers
from columns.part import CONGESTED, EDGE, IN, LAST, MIRROR, NOT_ECT, OUT, Part
from columns.scale import saturate, scale
from columns.spread import Shares, share_until, spread
from flowpb.groupings import WINDOW_MS
from flowpb.schema import Direction

_ECN: Final = np.array([NOT_ECT, 0, 0, CONGESTED], np.uint8)
_LONG_MS: Final = 2**31
"""From this duration on the products of the spread need more than 63 bits."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """`parts` by start of window in ms; `refused`: row numbers of the flows without parts, counted through all batches in order.

    `late` flows were not accepted; `ancient` of them are too old for any window.
    `future` and `reversed` count repaired flows, `clipped_bytes` the scaled octets of accepted flows that were
    moved to the horizon, `saturated` the counters of accepted flows that were cut to 2^63 - 1, `rows` the rows in all parts.
    `judged` says the same by batch and exporter; its batches are numbered as they were given.
    """

    parts: dict[int, bytes]
    refused: Ints
    flows: int = 0
    late: int = 0
    ancient: int = 0
    future: int = 0
    reversed: int = 0
    clipped_bytes: int = 0
    saturated: int = 0
    rows: int = 0
    judged: Judged = field(default_factory=Judged.none)


def lay_out(flows: pa.RecordBatch, mark_ms: int, frontier_ms: int, limits: Limits) -> LaidOut:
    """Parts of one batch: columns of FLOW, in any number, with the clamped mark and the frontier that `log.advance` gave."""
    return lay_out_many([(flows, mark_ms, frontier_ms)], limits)


def lay_out_many(batches: Sequence[tuple[pa.RecordBatch, int | Ints, int | Ints]], limits: Limits, repair: bool = False) -> LaidOut:
    """Parts of a bundle of (flows, mark_ms, frontier_ms) of one lane: one part per window for the whole bundle.

    Marks and frontiers are those of the batch, or one per flow. With `repair` late flows have parts, too (numbers.md 2.6).
    """
    sizes = [flows.num_rows for flows, _, _ in batches]
    if not sum(sizes):
        return LaidOut({}, np.empty(0, np.int64))
    flows = read_flows([flows for flows, _, _ in batches if flows.num_rows], limits)
    marks, frontiers = (
        np.concatenate([np.broadcast_to(batch[i], size) for batch, size in zip(batches, sizes, strict=True)]) for i in (1, 2)
    )
    intervals = judge(flows.delta_switched_ms, flows.last_switched_ms, flows.correction_ms, marks, frontiers)
    late, ancient = int((~intervals.accepted).sum()), int(intervals.ancient.sum())
    intervals = intervals.repaired() if repair else intervals
    refused = np.flatnonzero(~intervals.accepted)
    counters, saturated = _counters(flows, intervals.accepted)
    moved, clipped = _clipped(intervals, counters[0])
    future, reversed_ = np.flatnonzero(intervals.future), np.flatnonzero(intervals.reversed)
    kept = intervals.accepted if len(refused) else slice(None)
    shares = spread(intervals.start[kept], intervals.end[kept], counters[:, kept])
    if len(refused):
        shares = Shares(np.flatnonzero(intervals.accepted)[shares.flow], shares.window, shares.last, shares.values)
    parts, rows = _parts(flows, shares, limits)
    return LaidOut(
        parts,
        refused,
        flows=sum(sizes),
        late=late,
        ancient=ancient,
        future=len(future),
        reversed=len(reversed_),
        clipped_bytes=sum(clipped.tolist()),
        saturated=len(saturated),
        rows=rows,
        judged=judged_flows(
            np.repeat(np.arange(len(sizes)), sizes),
            flows.exporter,
            flows.addresses,
            Changes(refused, future, reversed_, saturated, moved, clipped, *_sampled(flows, counters)),
        ),
    )


def _counters(flows: Flows, accepted: Mask) -> tuple[Ints, Ints]:
    """Scaled bytes and packets, unscaled ones too if there is sampling; and accepted flows by each counter that was cut."""
    scaled = [scale(counter, flows.interval) for counter in (flows.bytes, flows.packets)]
    saturated = np.concatenate([cut for _, cut in scaled])
    counters = [counter for counter, _ in scaled]
    if flows.interval is not None:
        counters += [saturate(counter)[0] for counter in (flows.bytes, flows.packets)]
    return np.stack(counters), saturated[accepted[saturated]]


def _sampled(flows: Flows, counters: Ints) -> tuple[Ints, Ints]:
    """Flows that were sampled, and their packets as exported and scaled."""
    if flows.interval is None:
        return np.empty(0, np.int64), np.empty((2, 0), np.int64)
    sampled = np.flatnonzero(np.isfinite(flows.interval) & (flows.interval > 1))
    return sampled, counters[[3, 1]][:, sampled]


def _clipped(intervals: Intervals, octets: Ints) -> tuple[Ints, Ints]:
    """Accepted flows that were clipped, and their scaled octets before the clipped start; exact for any duration."""
    moved = np.flatnonzero(intervals.accepted & (intervals.start > intervals.unclipped))
    before = (intervals.start - intervals.unclipped)[moved]
    duration = (intervals.end - intervals.unclipped)[moved]
    long = duration >= _LONG_MS
    clipped = np.empty(len(moved), np.int64)
    clipped[~long] = share_until(octets[moved][~long], before[~long], duration[~long])
    wide = (np.array(column[long], object) for column in (octets[moved], before, duration))
    clipped[long] = [v // d * t + v % d * t // d for v, t, d in zip(*wide, strict=True)]
    return moved, clipped


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of all windows: per row its flow, share, port and tag; the rest per flow (`values` by column), `measures` by share."""

    names: Names
    flow: Ints
    share: Ints
    port: Ints
    tag: Octets
    service: Ints
    lower: Ints
    upper: Ints
    dscp: Octets
    values: tuple[Numbers, ...]
    measures: Ints


def _parts(flows: Flows, shares: Shares, limits: Limits) -> tuple[dict[int, bytes], int]:
    """Rows of all sides, cut by window."""
    if not len(shares.flow):
        return {}, 0
    egress = flows.direction == Direction.EGRESS
    mirrored = ~egress if limits.both_sides else ~egress & (flows.direction != Direction.INGRESS)
    names, port, mirror_port, service = _names(flows, egress)
    again = np.flatnonzero(mirrored[shares.flow])
    share = np.concatenate([np.arange(len(shares.flow)), again])
    flow = shares.flow[share]
    once, twice = np.split(flow, [len(shares.flow)])
    side = np.concatenate([np.where(egress, np.uint8(OUT), np.uint8(IN))[once], np.full(len(twice), MIRROR, np.uint8)])
    if flows.edges is not None:
        side[: len(once)] += np.where(egress, flows.edges[1], flows.edges[0])[once] * np.uint8(EDGE)
    rows = _Rows(
        names,
        flow,
        share,
        np.concatenate([port[once], mirror_port[twice]]),
        side + _ECN[flows.tos & 3][flow] + shares.last[share] * np.uint8(LAST),
        service,
        np.minimum(flows.source, flows.destination),
        np.maximum(flows.source, flows.destination),
        flows.tos >> np.uint8(2) if limits.with_dscp else np.zeros_like(flows.tos),
        tuple(codes for _, columns in flows.values for codes in columns),
        shares.values,
    )
    return _by_window(rows, shares.window[share]), len(flow)


def _names(flows: Flows, egress: Mask) -> tuple[Names, Ints, Ints, Ints]:
    """Names of the bundle, and per flow: its port, the port of its mirror row, its service."""
    exporters, exporter = distinct_pairs(flows.location, flows.exporter)
    interfaces = np.concatenate([np.where(egress, flows.out_if, flows.in_if), flows.out_if])
    ports, port = distinct_pairs(np.tile(exporter, 2), interfaces)
    pairs, service = distinct_pairs(flows.application, flows.protocol)
    services = np.concatenate([np.zeros((len(pairs), 1), np.int64), pairs], axis=1)
    values = tuple(kind for kind, _ in flows.values)
    names = Names(flows.locations, flows.applications, flows.addresses, exporters, ports, services, values)
    return names, port[: len(egress)], port[len(egress) :], service


def _by_window(rows: _Rows, window: Ints) -> dict[int, bytes]:
    first = int(window.min())
    number = window - first
    # The horizon leaves room for some thirty windows; numpy sorts 16 bits by radix.
    order = np.argsort(number.astype(np.uint16 if number.max() < 1 << 16 else np.int64), kind="stable")
    ends = run_ends(number[order])
    windows = (number[order[ends]] + first) * WINDOW_MS
    pieces = np.split(order, ends[:-1] + 1)
    return {window: _part(rows, piece) for window, piece in zip(windows.tolist(), pieces, strict=True)}


def _part(rows: _Rows, piece: Ints) -> bytes:
    port, flow = rows.port[piece], rows.flow[piece]
    service, lower, upper = rows.service[flow], rows.lower[flow], rows.upper[flow]
    used = Used.none(rows.names)
    for mask, codes in ((used.ports, port), (used.services, service), (used.addresses, lower), (used.addresses, upper)):
        mask[codes] = True
    for mask in used.values:  # the values of a bundle are few, to look for those of a window would cost more than they do
        mask[:] = True
    names, to = restrict(rows.names, used)
    return Part(
        names,
        to.ports[port],
        to.services[service],
        to.addresses[lower],
        to.addresses[upper],
        rows.tag[piece],
        rows.dscp[flow],
        tuple(codes[flow] for codes in rows.values),
        np.take(rows.measures, rows.share[piece], axis=1),
    ).pack()
