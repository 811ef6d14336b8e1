"""A streaming job in the shape of Nephrite's aggregation, small enough that its exact answer can be computed.

A paced, replayable source of parts per lane; a stateful DoFn per (lane, window start) in the global window that
accumulates parts and writes a document at three marks; a sink that appends every write to files.
Importable by workers, so nothing here may live in `__main__`.
"""

import os
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp

EPOCH_MS: Final = 1_700_000_040_000
WINDOW_MS: Final = 10_000
MARKS_MS: Final = (2_000, 20_000, 60_000)  # after the end of the window
LATE_MS: Final = (0, 15_000, 40_000)  # every batch has a part for now, and for windows that long ago
STEP_MS: Final = 1_000  # event time from batch to batch
DELAY_MS: Final = 5_000  # watermark behind the mark
COMPACT_BYTES: Final = 200
FOREVER: Final = 1 << 62

KEY: Final = struct.Struct(">iq")  # lane, window start in ms
PART: Final = struct.Struct(">qq")  # parts, sum of their checksums
META: Final = struct.Struct(">iib")  # bytes in the log, next mark, armed
DOCUMENT: Final = struct.Struct(">bqq")  # mark, parts, checksum


@dataclass(frozen=True, slots=True)
class Topic:
    """What there is to read: batch b of a lane exists from `start_s` + b / rate on, `batches` in all."""

    start_s: float
    rate: float
    batches: int
    ends: bool  # whether the source finishes (watermark MAX), or stays idle with the watermark following the clock
    out: str

    def produced(self) -> int:
        return int((time.time() - self.start_s) * self.rate)

    def available(self) -> int:
        return min(self.produced(), self.batches)


def mark_ms(batch: int) -> int:
    return EPOCH_MS + batch * STEP_MS


def parts(lane: int, batch: int) -> Iterator[tuple[int, bytes]]:
    """(window start, part) of one batch."""
    for late_ms in LATE_MS:
        start = (mark_ms(batch) - late_ms) // WINDOW_MS * WINDOW_MS
        if start >= EPOCH_MS:
            yield start, PART.pack(1, zlib.crc32(f"{lane} {batch} {late_ms}".encode()))


def expected(topic: Topic, lanes: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(lane, window start) -> (parts, checksum), over the whole topic."""
    totals: dict[tuple[int, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for lane in range(lanes):
        for batch in range(topic.batches):
            for start, part in parts(lane, batch):
                totals[lane, start] = merged(totals[lane, start], PART.unpack(part))
    return dict(totals)


def merged(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


class LogTracker(OffsetRestrictionTracker):
    """Only the source itself splits: a runner's split would cut the endless range in the middle."""

    def try_split(self, fraction_of_remainder: float) -> object:
        return super().try_split(0) if fraction_of_remainder == 0 else None

    def is_bounded(self) -> bool:
        return False


class LaneProvider(RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, FOREVER)

    def create_tracker(self, restriction: OffsetRange) -> LogTracker:
        return LogTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return 1 << 20

    def split(self, element: int, restriction: OffsetRange) -> Iterator[OffsetRange]:
        yield restriction

    def truncate(self, element: int, restriction: OffsetRange) -> None:
        return None


class ReadLane(beam.DoFn):
    """Element: a lane. Yields KV(packed (lane, window start), part)."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        lane: int,
        tracker: LogTracker = beam.DoFn.RestrictionParam(LaneProvider()),
        estimator: ManualWatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue]:
        first = tracker.current_restriction().start
        batch = first
        for batch in range(first, max(first, self.topic.available())):
            if not tracker.try_claim(batch):
                return
            for start, part in parts(lane, batch):
                yield TimestampedValue((KEY.pack(lane, start), part), at(mark_ms(batch)))
        end = max(first, self.topic.available() if batch == first else batch + 1)
        if self.topic.ends and first >= self.topic.batches:
            # only in a call that emitted nothing: the runner may drop what a finishing call emits
            estimator.set_watermark(MAX_TIMESTAMP)
            tracker.try_claim(FOREVER - 1)
            return
        idle = end >= self.topic.batches
        watermark = at(mark_ms(max(end, self.topic.produced()) if idle else end) - DELAY_MS)
        current = estimator.current_watermark()
        if current is None or watermark > current:
            estimator.set_watermark(watermark)
        tracker.defer_remainder(Duration(micros=50_000))


def at(ms: int) -> Timestamp:
    return Timestamp(micros=ms * 1_000)


class LaneState(beam.DoFn):
    """State of one (lane, window start): parts in a log, compacted into a base, a document at each mark."""

    LOG = BagStateSpec("log", BytesCoder())
    BASE = ReadModifyWriteStateSpec("base", BytesCoder())
    META = ReadModifyWriteStateSpec("meta", BytesCoder())
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def process(
        self,
        element: tuple[bytes, bytes],
        now: Timestamp = beam.DoFn.TimestampParam,
        log: beam.transforms.userstate.BagRuntimeState = beam.DoFn.StateParam(LOG),
        base: beam.transforms.userstate.ReadModifyWriteRuntimeState = beam.DoFn.StateParam(BASE),
        meta: beam.transforms.userstate.ReadModifyWriteRuntimeState = beam.DoFn.StateParam(META),
        fire: beam.transforms.userstate.BaseTimer = beam.DoFn.TimerParam(FIRE),
    ) -> None:
        key, part = element
        size, mark, armed = META.unpack(meta.read() or META.pack(0, 0, 0))
        log.add(part)
        size += len(part)
        if not armed:
            # a timer that is set again would postpone itself for ever, so only the first part arms it
            mark = next_mark(key, now)
            if mark == len(MARKS_MS):
                mark -= 1
            fire.set(mark_at(key, mark))
        if size > COMPACT_BYTES:
            base.write(absorbed(base.read(), log.read()))
            log.clear()
            size = 0
        meta.write(META.pack(size, mark, 1))

    @on_timer(FIRE)
    def on_mark(
        self,
        key: bytes = beam.DoFn.KeyParam,
        log: beam.transforms.userstate.BagRuntimeState = beam.DoFn.StateParam(LOG),
        base: beam.transforms.userstate.ReadModifyWriteRuntimeState = beam.DoFn.StateParam(BASE),
        meta: beam.transforms.userstate.ReadModifyWriteRuntimeState = beam.DoFn.StateParam(META),
        fire: beam.transforms.userstate.BaseTimer = beam.DoFn.TimerParam(FIRE),
    ) -> Iterator[tuple[bytes, bytes]]:
        known = meta.read()
        if known is None:
            yield key, DOCUMENT.pack(-1, 0, 0)
            return
        size, mark, _ = META.unpack(known)
        total = base.read()
        if size:
            total = absorbed(total, log.read())
            log.clear()
        yield key, DOCUMENT.pack(mark, *PART.unpack(total))
        if mark + 1 == len(MARKS_MS):
            base.clear()
            meta.clear()
        else:
            base.write(total)
            meta.write(META.pack(0, mark + 1, 1))
            fire.set(mark_at(key, mark + 1))


def next_mark(key: bytes, now: Timestamp) -> int:
    return sum(mark_at(key, mark) <= now for mark in range(len(MARKS_MS)))


def mark_at(key: bytes, mark: int) -> Timestamp:
    _, start = KEY.unpack(key)
    return at(start + WINDOW_MS + MARKS_MS[mark])


def absorbed(base: bytes | None, log: Iterator[bytes]) -> bytes:
    total = PART.unpack(base) if base else (0, 0)
    for part in log:
        total = merged(total, PART.unpack(part))
    return PART.pack(*total)


class Append(beam.DoFn):
    """Appends each document as a line: time, pid, lane, window start, mark, parts, checksum, timestamp."""

    def __init__(self, out: str) -> None:
        self.out = out

    def process(self, element: tuple[bytes, bytes], now: Timestamp = beam.DoFn.TimestampParam) -> None:
        key, document = element
        line = (time.time(), os.getpid(), *KEY.unpack(key), *DOCUMENT.unpack(document), now.micros // 1000)
        with Path(self.out, f"{os.getpid()}.txt").open("a") as file:
            file.write(" ".join(map(str, line)) + "\n")


def build(pipeline: beam.Pipeline, topic: Topic, lanes: int) -> None:
    _ = (
        pipeline
        | "lanes" >> beam.Create(range(lanes), reshuffle=False)
        | "read" >> beam.ParDo(ReadLane(topic)).with_output_types(tuple[bytes, bytes])
        | "state" >> beam.ParDo(LaneState()).with_output_types(tuple[bytes, bytes])
        | "append" >> beam.ParDo(Append(topic.out)).with_output_types(bytes)
    )
