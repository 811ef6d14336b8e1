"""From flows to parts: judge, scale, spread, take sides, lay out by window.

In: batches of one lane with their marks and frontiers. Out: one packed part per window, not grouped (real traffic repeats a
conversation too seldom inside a bundle for grouping to pay), the refused flows, and exact counts of everything that was changed on
the way. Refuses to know state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints, Mask, Octets, run_ends
from columns.distinct import distinct_codes, distinct_pairs
from columns.flows import Flows, read_flows
from columns.interval import Intervals, judge
from columns.judged import Changes, Judged, judged_flows
from columns.limits import Limits
from columns.names import Names, Recoding, Used, restrict
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
    parts, laid = lay_out_lanes(batches, [0] * len(batches), limits, repair)
    return replace(laid, parts={window: part for (_, window), part in parts.items()})


def lay_out_lanes(
    batches: Sequence[tuple[pa.RecordBatch, int | Ints, int | Ints]], lanes: Sequence[int], limits: Limits, repair: bool = False
) -> tuple[dict[tuple[int, int], bytes], LaidOut]:
    """Parts by (lane, window) of a bundle of several lanes, and what `lay_out_many` says about all of it, without parts.

    `lanes` is that of each batch. A lay-out costs as much for a hundred flows as for some thousands more.
    """
    sizes = [flows.num_rows for flows, _, _ in batches]
    if not sum(sizes):
        return {}, LaidOut({}, np.empty(0, np.int64))
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
    distinct_lanes, lane = np.unique(np.array(lanes), return_inverse=True)
    parts, rows = _parts(flows, shares, _Lanes(distinct_lanes.tolist(), np.repeat(lane, sizes)), limits)
    return parts, LaidOut(
        {},
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


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Distinct lanes, and which of them each flow is in."""

    numbers: Sequence[int]
    of_flow: Ints


def _parts(flows: Flows, shares: Shares, lanes: _Lanes, limits: Limits) -> tuple[dict[tuple[int, int], bytes], int]:
    """Rows of all sides, cut by lane and window."""
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
    return _by_window(rows, shares.window[share], lanes), len(flow)


def _names(flows: Flows, egress: Mask) -> tuple[Names, Ints, Ints, Ints]:
    """Names of the bundle, and per flow: its port, the port of its mirror row, its service."""
    exporters, exporter = distinct_pairs(flows.location, flows.exporter)
    interfaces = np.concatenate([np.where(egress, flows.out_if, flows.in_if), flows.out_if])
    ports, port = distinct_pairs(np.tile(exporter, 2), interfaces)
    pairs, service = distinct_pairs(flows.application, flows.protocol)
    services = np.concatenate([np.zeros((len(pairs), 1), np.int64), pairs], axis=1)
    values = tuple(kind for kind, _ in flows.values)
    nodes = flows.nodes.of_exporters(exporter, len(exporters)) if flows.nodes else ()
    names = Names(flows.locations, flows.applications, flows.addresses, exporters, ports, services, values, nodes)
    return names, port[: len(egress)], port[len(egress) :], service


def _by_window(rows: _Rows, window: Ints, lanes: _Lanes) -> dict[tuple[int, int], bytes]:
    first = int(window.min())
    span = int(window.max()) - first + 1
    number = window - first
    if len(lanes.numbers) > 1:
        number += lanes.of_flow[rows.flow] * span
    # The horizon leaves room for some thirty windows; numpy sorts 16 bits by radix.
    order = np.argsort(number.astype(np.uint16 if span * len(lanes.numbers) <= 1 << 16 else np.int64), kind="stable")
    ends = run_ends(number[order])
    keys = [(lanes.numbers[at // span], (at % span + first) * WINDOW_MS) for at in number[order[ends]].tolist()]
    located = _located(rows, order, np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1)))
    starts = [0, *(ends[:-1] + 1).tolist()]
    return {
        key: _part(rows, order[start : end + 1], located.of(number, slice(start, end + 1)))
        for number, (key, start, end) in enumerate(zip(keys, starts, ends.tolist(), strict=True))
    }


@dataclass(frozen=True, slots=True)
class _Located:
    """The ends of all rows, piece by piece, under the addresses of their piece alone: those of a bundle may be far more.

    `kept`: per piece the codes of its addresses; `exporters`: per piece those of the bundle with the new code of their address.
    """

    lower: Ints
    upper: Ints
    kept: Sequence[Ints]
    exporters: Sequence[Ints]

    def of(self, piece: int, rows: slice) -> tuple[Ints, Ints, Ints, Ints]:
        """Lower and upper ends, kept addresses and exporters of one piece."""
        return self.lower[rows], self.upper[rows], self.kept[piece], self.exporters[piece]


def _located(rows: _Rows, order: Ints, piece: Ints) -> _Located:
    """`piece` is that of each row in order."""
    names, count, width = rows.names, int(piece[-1]) + 1, len(rows.names.addresses) + 1
    ports = distinct_codes(piece * len(names.ports) + rows.port[order], count * len(names.ports))[0]
    piece_of_port, exporter = ports // len(names.ports), names.ports[ports % len(names.ports), 0]
    flow = rows.flow[order]
    pieces = np.concatenate([piece, piece, piece_of_port])
    wanted = np.concatenate([rows.lower[flow], rows.upper[flow], names.exporters[exporter, 1]])
    distinct, codes = distinct_codes(pieces * width + wanted, count * width)
    bounds = np.searchsorted(distinct, np.arange(count + 1) * width)
    has_null = distinct[bounds[:-1]] == np.arange(count) * width
    local = codes - (bounds[:-1] + has_null - 1)[pieces]
    exporters = np.repeat(names.exporters[None], count, axis=0)
    exporters[:, :, 1] = 0
    exporters[piece_of_port, exporter, 1] = local[2 * len(piece) :]
    firsts = (bounds[:-1] + has_null).tolist()
    kept = [
        distinct[first:end] - number * width for number, (first, end) in enumerate(zip(firsts, bounds[1:].tolist(), strict=True))
    ]
    return _Located(local[: len(piece)], local[len(piece) : 2 * len(piece)], kept, list(exporters))


def _part(rows: _Rows, piece: Ints, located: tuple[Ints, Ints, Ints, Ints]) -> bytes:
    lower, upper, kept, exporters = located
    port, flow = rows.port[piece], rows.flow[piece]
    service = rows.service[flow]
    values = tuple(codes[flow] for codes in rows.values)
    own = replace(rows.names, addresses=rows.names.addresses[kept - 1], exporters=exporters)
    used = Used.none(own)
    used.addresses[:] = used.ports[port] = used.services[service] = True
    columns = iter(values)
    for mask, kind in zip(used.values, own.values, strict=True):
        for _ in range(kind.columns):
            mask[next(columns)] = True
    names, to = restrict(own, used)
    measures = np.take(rows.measures, rows.share[piece], axis=1)
    if len(measures) > 2 and np.array_equal(measures[:2], measures[2:]):  # sampled was another piece
        measures = measures[:2]
    return Part(
        names,
        to.ports[port],
        to.services[service],
        lower,
        upper,
        rows.tag[piece],
        rows.dscp[flow],
        _recoded_values(own, to, values),
        measures,
    ).pack()


def _recoded_values(names: Names, to: Recoding, values: Sequence[Numbers]) -> tuple[Numbers, ...]:
    kinds = (kind for kind, content in enumerate(names.values) for _ in range(content.columns))
    return tuple(to.values[kind][codes] for kind, codes in zip(kinds, values, strict=True))
