"""The one contract that every bus keeps: an ordered, replayable log per partition.

In: the bytes of FlowBatches (flowpb.codec). Out: the same bytes, in order, each with its offset. Refuses to know what is in
them beyond their lane. A lane lives in exactly one partition (`partition_of`), so the order of a lane is the order of its
partition; it stays there when partitions are added (bus.lane_map). Offsets rise inside a partition, not necessarily by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch as the bus keeps it; `append_ms` is the bus's clock when it took the batch."""

    partition: int
    offset: int
    lane: int
    append_ms: int
    value: bytes


class Producer(Protocol):
    """The writing end. Not thread-safe."""

    def send(self, lane: int, value: bytes) -> None:
        """Take one batch. Order inside a lane is kept. May buffer.

        Raises BusError when the bus cannot take it now, BatchTooLargeError when it never will; the batch is then not taken.
        """

    def flush(self, timeout_s: float) -> None:
        """Return once everything sent is durable on the bus (acknowledged); raises BusError otherwise.

        What was sent stays with the producer then: another flush may succeed, and sending it again makes repeats.
        """

    def close(self) -> None:
        """Flush what is left and let go of files and sockets."""


class Source(Protocol):
    """The reading end: stateless about positions, which belong to the reader. Not thread-safe."""

    @property
    def partitions(self) -> int:
        """How many partitions there are now; they may grow, never shrink."""

    def home_of(self, lane: int) -> int:
        """The partition that carries the lane, whatever partitions were added since lanes were dealt out."""

    def begin(self, partition: int) -> int:
        """Offset of the oldest entry still there (equals `end` when there is none)."""

    def end(self, partition: int) -> int:
        """Offset that the next entry will get, or a larger one: nothing below it is still to come."""

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        """Entries from `offset` on, in order, about `max_bytes` of them but at least one if there is any.

        Waits up to `wait_s` when there is none. An offset below `begin` raises OffsetGoneError: entries were lost to the reader.
        A log that was made anew since it was read first raises BusReplacedError, once per partition, where that can be told.
        """

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Offset of the first entry that the bus took at `time_ms` or later; the end where there is none yet."""

    def released(self, partition: int) -> int | None:
        """Where the last reader stood that released anything, as far as the bus remembers it."""

    def release(self, partition: int, offset: int) -> None:
        """Entries below `offset` are no longer needed by this reader (a spool may delete them, Kafka records the lag)."""

    def close(self) -> None:
        """Let go of files and sockets."""


def partition_of(lane: int, partitions: int) -> int:
    """The partition that carries a lane: lanes are dealt out in turn."""
    return lane % partitions
