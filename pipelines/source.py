"""The bus as a splittable DoFn: batches that their lanes' logs accept, and a watermark of its own.

In: one element per partition that there is at the start, with the offsets wanted of it. Out: `AcceptedBatch`es with the watermark =
least frontier of the partition's lanes - 5 s. Partitions that are added later belong to the elements in turn. The restriction holds
offsets and lane logs (repeats, leases, frontiers), so that a restored job judges as if it had never stopped. Refuses to know which
bus it is. What it releases is read, but not yet in a checkpoint: the bus must keep it all the same, as Kafka does and a spool does
not.

A partition at its end lets the watermark follow the clock (10 s behind), but never more than 55 s past the frontier of a lane that
was ever heard of: all marks but the last may fire then, and what a returning collector brings is still accepted. Lanes never heard
of do not hold it; what they bring at first is judged by a frontier of at least the watermark - 60 s, so that no flow enters a
window that is closed already (docs/explanation/numbers.md, 2 and 9).
"""

import logging
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration

from bus.contract import Source
from columns.log import LaneLog
from common.errors import BusError
from common.logs import Limited
from common.metrics import Counters
from flowpb.groupings import FINAL_DELAY_MS
from pipelines.document_intake import DocumentIntake
from pipelines.intake import Intake, frontiers, read_on
from pipelines.standing import Lag, gauges_of, lag_of
from transforms.flows import NAMESPACE
from transforms.keys import moment

FOREVER: Final = 1 << 62
DELAY_MS: Final = 5_000
"""The watermark is behind the least frontier by this much."""
_IDLE_DELAY_MS: Final = 10_000
_IDLE_LEAD_MS: Final = 55_000
_AT_ONCE: Final = Duration(0)
_WHEN_AWAY: Final = Duration(micros=1_000_000)
_told: Final = Limited(logging.getLogger(__name__), period_s=60.0)
_LOOK_AGAIN: Final = Duration(micros=500_000)
"""After a call that came to the end of everything. No call waits itself: all partitions of a subtask take turns in one thread."""


@dataclass(frozen=True, slots=True)
class LogRange:
    """Offsets [start, stop) of a partition still to be read, and the logs of its lanes before `start`.

    `grown` are the offsets to go on from in partitions that were added since, in the order of their numbers.
    """

    start: int
    stop: int
    logs: tuple[tuple[int, bytes], ...] = ()
    grown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """Everything below `next_offset` is taken, and below `grown` in added partitions; the lanes' logs are `logs` then.

    `finishes` gives up what is left of the range.
    """

    next_offset: int
    logs: tuple[tuple[int, bytes], ...]
    finishes: bool = False
    grown: tuple[int, ...] = ()


class LogRangeCoder(Coder):
    """LogRange as octets, in the encoding of a small protobuf-free table; it sits in checkpoints."""

    def encode(self, value: LogRange) -> bytes:
        """start, stop, number of added partitions and their offsets, then (lane, length, log) per lane."""
        head = b"".join(n.to_bytes(8, "big") for n in (value.start, value.stop, len(value.grown), *value.grown))
        return head + b"".join(lane.to_bytes(2, "big") + len(log).to_bytes(4, "big") + log for lane, log in value.logs)

    def decode(self, encoded: bytes) -> LogRange:
        """The inverse of `encode`."""
        start, stop, count = (int.from_bytes(encoded[at : at + 8], "big") for at in (0, 8, 16))
        grown = tuple(int.from_bytes(encoded[at : at + 8], "big") for at in range(24, 24 + 8 * count, 8))
        at, logs = 24 + 8 * count, []
        while at < len(encoded):
            lane, size = int.from_bytes(encoded[at : at + 2], "big"), int.from_bytes(encoded[at + 2 : at + 6], "big")
            logs.append((lane, encoded[at + 6 : at + 6 + size]))
            at += 6 + size
        return LogRange(start, stop, tuple(logs), grown)

    def is_deterministic(self) -> bool:
        """Equal ranges have equal octets."""
        return True


class LogTracker(RestrictionTracker):
    """Claims whole reads. Splits only at the place reached: a runner's split in the middle of an endless log has no meaning."""

    def __init__(self, restriction: LogRange) -> None:
        self._range = restriction
        self._claimed = Claim(restriction.start, restriction.logs, grown=restriction.grown)
        self._done = False

    def current_restriction(self) -> LogRange:
        """What is left, as far as it is known now."""
        return self._range

    def current_progress(self) -> RestrictionProgress:
        """Unknown length: one unit done, one left."""
        return RestrictionProgress(completed=1, remaining=0 if self._done else 1)

    def try_claim(self, claim: Claim) -> bool:
        """Takes everything below `claim.next_offset`; false once the range was cut below it."""
        if claim.next_offset > self._range.stop:
            return False
        self._claimed = claim
        self._done = claim.finishes
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[LogRange, LogRange] | None:
        """(done, left) at the place reached, for fraction 0 only."""
        if fraction_of_remainder or self._done:
            return None
        reached = self._claimed.next_offset
        left = LogRange(reached, self._range.stop, self._claimed.logs, self._claimed.grown)
        self._range = LogRange(self._range.start, reached, self._range.logs, self._range.grown)
        self._done = True
        return self._range, left

    def check_done(self) -> None:
        """Raises ValueError if something was neither claimed nor split off."""
        if not self._done:
            raise ValueError(f"log range {self._range.start}..{self._range.stop} was left at {self._claimed.next_offset}")

    def is_bounded(self) -> bool:
        """Whether the range has an end: back-fills do."""
        return self._range.stop < FOREVER


_ELEMENT: Final = struct.Struct(">IQQII")


def pack_element(partition: int, start: int = 0, stop: int = FOREVER, salt: int = 0, stride: int = 0) -> bytes:
    """One element of `ReadBus`: offsets [start, stop) of a partition. `salt` only moves it to another subtask.

    With a `stride`, the number of partitions at the start, it takes every stride-th partition that is added later, too.
    """
    return _ELEMENT.pack(partition, start, stop, stride, salt)


class LogRanges(RestrictionProvider):
    """Restrictions of packed elements."""

    def initial_restriction(self, element: bytes) -> LogRange:
        """The whole wanted range, before any batch."""
        _, start, stop, _, _ = _ELEMENT.unpack(element)
        return LogRange(start, stop)

    def create_tracker(self, restriction: LogRange) -> LogTracker:
        """A tracker at the range's start."""
        return LogTracker(restriction)

    def restriction_size(self, element: bytes, restriction: LogRange) -> int:
        """A constant: lengths of endless logs do not compare."""
        return 1 << 20

    def restriction_coder(self) -> LogRangeCoder:
        """Plain octets, no pickling."""
        return LogRangeCoder()

    def split(self, element: bytes, restriction: LogRange) -> Iterator[LogRange]:
        """Never: a lane's log has one order."""
        yield restriction

    def truncate(self, element: bytes, restriction: LogRange) -> None:
        """On drain reading stops."""
        return


_OPEN: dict[bytes, Source] = {}


class ReadBus(beam.DoFn):
    """Packed elements -> AcceptedBatches. `opener` makes the Source; one is kept per process and `name`.

    With `documents` the source has FlowDocuments instead of batches.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        lanes: int,
        max_s: float = 0.6,
        max_bytes: int = 16 << 20,
        documents: bool = False,
    ) -> None:
        self._name, self._opener, self._lanes = name, opener, lanes
        self._kind = DocumentIntake if documents else Intake
        self._max_s, self._max_bytes = max_s, max_bytes

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(LogRanges()),
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue]:
        """Reads for at most `max_s`, then gives the thread back. Finishes a bounded range only in a call that emitted nothing."""
        partition, _, _, stride, _ = _ELEMENT.unpack(element)
        source = self._source(partition)
        todo: LogRange = tracker.current_restriction()
        reported = estimator.current_watermark()
        least_frontier_ms = 0 if reported is None else max(0, reported.micros // 1000 - FINAL_DELAY_MS)
        intake = self._kind({lane: LaneLog.unpack(log) for lane, log in todo.logs}, self._lanes, least_frontier_ms)
        try:
            if todo.start >= todo.stop or (todo.stop < FOREVER and source.end(partition) <= todo.start):
                estimator.set_watermark(MAX_TIMESTAMP)
                tracker.try_claim(Claim(todo.start, todo.logs, finishes=True))
                return
            reached, lags = self._take(source, (partition, stride), todo, intake)
        except BusError as error:
            self._wait(error, tracker)
            return
        at_end = all(lag.records == 0 for lag in lags)
        if at_end and isinstance(intake, DocumentIntake):
            for each in reached:
                intake.idle(each, time.time_ns() // 1_000_000 - _IDLE_DELAY_MS)
        logs = tuple((lane, log.pack()) for lane, log in sorted(intake.logs.items()))
        offset, *grown = reached.values()
        if not tracker.try_claim(Claim(offset, logs, grown=tuple(grown) or todo.grown)):
            return
        self.count(intake.counters)
        self.show(gauges_of(lags, intake.logs))
        for lane in sorted(intake.accepted):
            for batch in intake.accepted[lane]:
                yield TimestampedValue(batch, moment(batch.frontier_ms))
        self._advance(estimator, frontiers(intake.logs).values(), at_end)
        for each, at in reached.items():
            source.release(each, at)
        tracker.defer_remainder(_LOOK_AGAIN if at_end else _AT_ONCE)

    def _take(self, source: Source, place: tuple[int, int], todo: LogRange, intake: Intake) -> tuple[dict[int, int], list[Lag]]:
        """Takes what there is, of the element's partition first; returns where it came to by partition, and their lags."""
        partition, stride = place
        reached = {partition: self._read(source, partition, todo, intake)}
        added = range(partition + stride, source.partitions, stride) if stride else range(0)
        for number, each in enumerate(added):
            reached[each] = self._read_added(source, each, todo.grown[number : number + 1], intake)
        return reached, [lag_of(source, each, at, intake.read_ms.get(each)) for each, at in reached.items()]

    def _wait(self, error: BusError, tracker: Any) -> None:
        """Nothing was claimed, so all of it is left for later: a job that began anew would only ask the same again."""
        _told.warning("bus", f"{error}; trying again in {_WHEN_AWAY.micros // 1_000_000} s")
        failed = Counters()
        failed.add("pipeline_bus_errors_total")
        self.count(failed)
        tracker.defer_remainder(_WHEN_AWAY)

    def count(self, counters: Counters) -> None:
        """Counts as Beam counters, which a runner commits with the bundle."""
        for name, amount in counters.as_map().items():
            Metrics.counter(NAMESPACE, name).inc(amount)

    def show(self, gauges: Mapping[str, int]) -> None:
        """Lag and frontiers as Beam gauges."""
        for name, value in gauges.items():
            Metrics.gauge(NAMESPACE, name).set(value)

    def _read_added(self, source: Source, partition: int, known: tuple[int, ...], intake: Intake) -> int:
        """Takes what is there of a partition that was added; it is read whole."""
        todo = LogRange(known[0] if known else source.begin(partition), FOREVER, ((0, b""),))
        return self._read(source, partition, todo, intake)

    def _read(self, source: Source, partition: int, todo: LogRange, intake: Intake) -> int:
        """Takes what is there of the range, for at most `max_s`; returns the offset that it came to."""
        offset = todo.start if todo.logs else min(todo.stop, max(todo.start, source.begin(partition)))
        ends, taken = time.monotonic() + self._max_s, 0
        while offset < todo.stop and taken < self._max_bytes and time.monotonic() < ends:
            entries, reached = read_on(source, partition, offset, self._max_bytes, 0.0, intake.counters)
            if reached == offset:
                break
            intake.take(entry for entry in entries if entry.offset < todo.stop)
            offset, taken = min(reached, todo.stop), taken + sum(len(entry.value) for entry in entries)
        return offset

    def _advance(self, estimator: Any, heard: Collection[int], at_end: bool) -> None:
        idle_ms = time.time_ns() // 1_000_000 - _IDLE_DELAY_MS
        if not heard and not at_end:
            return
        least = min(heard, default=idle_ms)
        behind_ms = least - DELAY_MS if heard else idle_ms
        watermark = moment(max(behind_ms, min(idle_ms, least + _IDLE_LEAD_MS)) if at_end else behind_ms)
        current = estimator.current_watermark()
        if current is None or watermark > current:
            estimator.set_watermark(watermark)

    def _source(self, partition: int) -> Source:
        key = f"{self._name} {partition}".encode()
        if key not in _OPEN:
            _OPEN[key] = self._opener()
        return _OPEN[key]
