"""Where reading begins and ends: start positions of a reader that has none yet, and ranges of time or offsets for back-fills.

In: a source, and what the operator said (`pipeline.start`, --from, --to). Out: offsets by partition, a source that has nothing but
a range, and the batches of a time range for those who compute them again. Refuses to know runners and stores. Times are those of
the bus: when it took an entry.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bus.contract import Entry, Source
from common.metrics import Counters
from common.start import Start
from pipelines.intake import Intake, read_on
from transforms.flows import AcceptedBatch

Bounds = Mapping[int, tuple[int, int]]
"""First offset and the one behind the last, by partition."""


def first_offset(source: Source, partition: int, start: Start) -> int:
    """Where a reader without a position begins; never before what the bus still has, nor behind its end. Raises BusError."""
    begin, end = source.begin(partition), source.end(partition)
    match start.kind:
        case "latest":
            wanted = end
        case "time":
            wanted = source.offset_at(partition, start.time_ms)
        case "offsets":
            wanted = start.offsets.get(partition, begin)
        case "committed":
            released = source.released(partition)
            wanted = begin if released is None else released
        case _:
            wanted = begin
    return min(max(begin, wanted), end)


def bounds_of(source: Source, from_ms: int, to_ms: int) -> dict[int, tuple[int, int]]:
    """The offsets of what the bus took in [from_ms, to_ms), of the partitions that there are now; raises BusError."""
    bounds = {}
    for partition in range(source.partitions):
        first = max(source.begin(partition), source.offset_at(partition, from_ms))
        bounds[partition] = (first, max(first, source.offset_at(partition, to_ms)))
    return bounds


@dataclass(frozen=True, slots=True)
class RangeSource:
    """A source that begins and ends at fixed offsets, and releases nothing: reading a range is nobody's progress."""

    source: Source
    bounds: Bounds

    @property
    def partitions(self) -> int:
        """Those that there were when the bounds were taken."""
        return len(self.bounds)

    def home_of(self, lane: int) -> int:
        """As the source's."""
        return self.source.home_of(lane)

    def begin(self, partition: int) -> int:
        """First offset of the range, or the oldest that is left of it."""
        first, behind = self.bounds[partition]
        return min(max(first, self.source.begin(partition)), behind)

    def end(self, partition: int) -> int:
        """The offset behind the range."""
        return self.bounds[partition][1]

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        """Entries of the range only; never waits for what is behind it."""
        behind = self.end(partition)
        if offset >= behind:
            return []
        return [entry for entry in self.source.read(partition, offset, max_bytes, 0.0) if entry.offset < behind]

    def offset_at(self, partition: int, time_ms: int) -> int:
        """As the source's, within the range."""
        first, behind = self.bounds[partition]
        return min(max(first, self.source.offset_at(partition, time_ms)), behind)

    def released(self, partition: int) -> int | None:
        """Nothing: a range has no reader to go on for."""
        return None

    def release(self, partition: int, offset: int) -> None:
        """Nothing is released."""

    def close(self) -> None:
        """Closes the source."""
        self.source.close()


def read_range(
    source: Source,
    lanes: int,
    from_ms: int,
    to_ms: int,
    wanted: Collection[int] | None = None,
    max_bytes: int = 16 << 20,
    counters: Counters | None = None,
) -> Iterator[AcceptedBatch]:
    """The batches that the bus took in [from_ms, to_ms), of the `wanted` lanes (all), each lane in its order; raises BusError.

    Repeats within the range are dropped and marks are clamped, as a live reader does; the frontier of a batch is that of a reader
    who began at `from_ms`. Counted in `counters`, under the names of a live reader. Memory: about `max_bytes` at a time.
    """
    intake = Intake({}, lanes)
    for partition, (first, behind) in bounds_of(source, from_ms, to_ms).items():
        offset = first
        while offset < behind:
            entries, reached = read_on(source, partition, offset, max_bytes, 0.0, intake.counters)
            if reached <= offset:
                break
            offset = reached
            intake.take(e for e in entries if e.offset < behind and (wanted is None or e.lane in wanted))
            accepted, intake.accepted = intake.accepted, {}
            for lane in sorted(accepted):
                yield from accepted[lane]
    if counters is not None:
        for (name, labels), amount in intake.counters.totals.items():
            counters.add(name, amount, **dict(labels))
