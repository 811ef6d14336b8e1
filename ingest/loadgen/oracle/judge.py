"""Time and order: which batches count, how far a lane is, and what becomes of a flow's interval (numbers.md sections 1 to 4)."""

import math
from dataclasses import dataclass, field
from typing import Final

from flowpb.groupings import FORGET_MS, FUTURE_MS, HORIZON_MS, LEASE_MS, WINDOW_MS

from .flows import Batch, Flow

_MOST: Final = 2**63 - 1
_AHEAD_OF_APPEND_MS: Final = 60_000
_OUT_OF_MIND_MS: Final = FORGET_MS - LEASE_MS
_DAY_MS: Final = 86_400_000


@dataclass(slots=True)
class Counts:
    """What happened to batches and flows. Clipped octets and saturated counters are those of accepted flows; repairs are of all."""

    batches: int = 0
    repeats: int = 0
    flows: int = 0
    accepted: int = 0
    late: int = 0
    late_bytes: int = 0
    future: int = 0
    reversed: int = 0
    saturated: int = 0
    clipped_flows: int = 0
    clipped_bytes: int = 0


@dataclass(slots=True)
class LaneLog:
    """Where one lane stands after the batches read so far; no frontier before the first."""

    last: dict[str, tuple[int, int]] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    frontier_ms: int | None = None

    def admit(self, batch: Batch) -> int | None:
        """The batch's mark, clamped, with the frontier raised by it; None for a repeat, which changes nothing."""
        identity = (batch.epoch, batch.seq)
        if batch.collector in self.last and identity <= self.last[batch.collector]:
            return None
        mark = batch.mark_ms if batch.append_ms is None else min(batch.mark_ms, batch.append_ms + _AHEAD_OF_APPEND_MS)
        if batch.collector not in self.last and self.frontier_ms is not None and mark < self.frontier_ms - _OUT_OF_MIND_MS:
            return None
        self.last[batch.collector] = identity
        self.marks[batch.collector] = mark
        lease = max(self.marks.values()) - LEASE_MS
        least = min(m for m in self.marks.values() if m > lease)
        self.frontier_ms = least if self.frontier_ms is None else max(self.frontier_ms, least)
        self.heard[batch.collector] = self.frontier_ms
        for name in [name for name, heard in self.heard.items() if heard <= self.frontier_ms - FORGET_MS]:
            del self.last[name], self.marks[name], self.heard[name]
        return mark


@dataclass(frozen=True, slots=True)
class Interval:
    """A flow that is accepted, with its interval as it counts."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one flow gives to one window."""

    window_ms: int
    bytes: int
    packets: int
    bytes_unscaled: int
    packets_unscaled: int
    flows: int


def judge(flow: Flow, mark_ms: int, frontier_ms: int, counts: Counts, repaired: bool = False) -> Interval | None:
    """The interval that counts, or None where the flow comes too late; with `repaired` only a day is too late."""
    correction = flow.correction_ms or 0
    start = (flow.first_ms if flow.delta_ms is None else flow.delta_ms) + correction
    end = flow.last_ms + correction
    if end > mark_ms + FUTURE_MS:
        end, start = mark_ms, min(start, mark_ms)
        counts.future += 1
    if start > end:
        start = end
        counts.reversed += 1
    clipped = min(end, max(start, frontier_ms - HORIZON_MS))
    octets = scaled(flow.bytes, flow.sampling_interval)
    if window_of(clipped) + WINDOW_MS + HORIZON_MS <= frontier_ms:
        counts.late += 1
        counts.late_bytes += octets
        return Interval(max(start, end - HORIZON_MS), end) if repaired and end > mark_ms - _DAY_MS else None
    counts.accepted += 1
    if clipped > start:
        counts.clipped_flows += 1
        counts.clipped_bytes += part(octets, end - start, clipped - start)
    return Interval(clipped, end)


def window_of(time_ms: int) -> int:
    """Start of the window that a time is in."""
    return time_ms // WINDOW_MS * WINDOW_MS


def scaled(value: int | None, interval: float | None) -> int:
    """A counter times the sampling interval, at most 2^63 - 1."""
    return min(_times(value or 0, interval), _MOST)


def saturates(value: int | None, interval: float | None) -> bool:
    """Whether the scaled counter had to be cut."""
    return _times(value or 0, interval) > _MOST


def _times(value: int, interval: float | None) -> int:
    if interval is None or not math.isfinite(interval) or interval <= 0:
        return value
    return value * int(interval) if interval == int(interval) else math.floor(float(value) * interval)


def part(value: int, duration: int, until: int) -> int:
    """What of `value` falls before `until`, both counted from the start."""
    q, r = divmod(value, duration)
    return q * until + r * until // duration


def spread(flow: Flow, interval: Interval) -> list[Share]:
    """The flow's rows, by window."""
    values = (
        scaled(flow.bytes, flow.sampling_interval),
        scaled(flow.packets, flow.sampling_interval),
        min(flow.bytes or 0, _MOST),
        min(flow.packets or 0, _MOST),
    )
    duration = interval.end_ms - interval.start_ms
    if duration == 0:
        return [Share(window_of(interval.end_ms), *values, 1)]
    shares, last = [], window_of(interval.end_ms - 1)
    for window in range(window_of(interval.start_ms), last + WINDOW_MS, WINDOW_MS):
        begin = max(window - interval.start_ms, 0)
        end = min(window + WINDOW_MS - interval.start_ms, duration)
        octets, packets, octets_unscaled, packets_unscaled = (part(v, duration, end) - part(v, duration, begin) for v in values)
        shares.append(Share(window, octets, packets, octets_unscaled, packets_unscaled, int(window == last)))
    return shares
