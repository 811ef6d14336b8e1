"""The bus inside one process: for tests, for `nephrite decode`-like one-shot runs, and as the plainest reading of the contract.

In: batches from a `MemoryProducer`. Out: the same to any number of `MemorySource`s of the same log, in any thread. Refuses to know
files and sockets: what is released, and the process, is gone for good.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from bus.contract import Entry, partition_of
from common.clock import Clock, wall_clock
from common.errors import BusError, OffsetGoneError
from common.metrics import Counters


@dataclass(slots=True)
class _Partition:
    begin: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.begin + len(self.entries)


class MemoryLog:
    """The log that producers and sources of one name share."""

    def __init__(self, partitions: int = 16, clock: Clock = wall_clock) -> None:
        self.changed: Final = threading.Condition()
        self._clock = clock
        self._home = partitions
        self._partitions = [_Partition() for _ in range(partitions)]

    @property
    def partitions(self) -> int:
        """How many partitions there are now."""
        return len(self._partitions)

    def home_of(self, lane: int) -> int:
        """The partition of a lane."""
        return partition_of(lane, self._home)

    def grow(self, partitions: int) -> None:
        """Add partitions until there are `partitions`; lanes stay where they are."""
        with self.changed:
            self._partitions += [_Partition() for _ in range(partitions - len(self._partitions))]

    def append(self, lane: int, value: bytes) -> None:
        """Add one batch at the end of its lane's partition."""
        with self.changed:
            number = self.home_of(lane)
            partition = self._partitions[number]
            partition.entries.append(Entry(number, partition.end, lane, self._clock(), value))
            self.changed.notify_all()

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset there is, and the one that comes next; raises BusError for a partition that does not exist."""
        if not 0 <= partition < len(self._partitions):
            raise BusError(f"memory bus: there is no partition {partition}, only {len(self._partitions)}")
        found = self._partitions[partition]
        return found.begin, found.end

    def slice(self, partition: int, offset: int) -> list[Entry]:
        """Entries from `offset` on; raises OffsetGoneError below the first there is."""
        begin, _ = self.bounds(partition)
        if offset < begin:
            raise OffsetGoneError(f"memory bus: partition {partition} starts at {begin}, {offset} is gone")
        return self._partitions[partition].entries[offset - begin :]

    def drop(self, partition: int, offset: int) -> None:
        """Forget entries below `offset`."""
        with self.changed:
            begin, end = self.bounds(partition)
            cut = min(max(offset, begin), end)
            del self._partitions[partition].entries[: cut - begin]
            self._partitions[partition].begin = cut


class MemoryProducer:
    """The writing end; what is sent can be read at once."""

    def __init__(self, log: MemoryLog, counters: Counters | None = None) -> None:
        self._log = log
        self._counters = Counters() if counters is None else counters
        self._closed = False

    def send(self, lane: int, value: bytes) -> None:
        """Append one batch."""
        if self._closed:
            raise BusError("memory bus: the producer is closed")
        self._log.append(lane, value)
        self._counters.add("bus_entries_total", bus="memory")
        self._counters.add("bus_bytes_total", len(value), bus="memory")

    def flush(self, timeout_s: float) -> None:
        """Nothing to wait for: memory is as durable as it gets."""

    def close(self) -> None:
        """Take no more; the log outlives its producers."""
        self._closed = True


class MemorySource:
    """The reading end."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    @property
    def partitions(self) -> int:
        """How many partitions there are now."""
        return self._log.partitions

    def home_of(self, lane: int) -> int:
        """The partition of a lane."""
        return self._log.home_of(lane)

    def begin(self, partition: int) -> int:
        """Offset of the oldest entry still there."""
        return self._log.bounds(partition)[0]

    def end(self, partition: int) -> int:
        """Offset of the next entry."""
        return self._log.bounds(partition)[1]

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        """Entries from `offset` on; see the contract."""
        deadline = time.monotonic() + wait_s
        with self._log.changed:
            while not (entries := self._log.slice(partition, offset)) and (left := deadline - time.monotonic()) > 0:
                self._log.changed.wait(left)
        return within(entries, max_bytes)

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Offset of the first entry taken at `time_ms` or later, or the end."""
        begin, end = self._log.bounds(partition)
        return next((entry.offset for entry in self._log.slice(partition, begin) if entry.append_ms >= time_ms), end)

    def released(self, partition: int) -> int | None:
        """The first entry there is: what is released is forgotten."""
        return self.begin(partition)

    def release(self, partition: int, offset: int) -> None:
        """Forget entries below `offset`."""
        self._log.drop(partition, offset)

    def close(self) -> None:
        """Nothing to let go of."""


def within(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """The longest head of `entries` of at most `max_bytes` octets, but at least one entry if there is any."""
    taken = 0

    def fits(entry: Entry) -> bool:
        nonlocal taken
        before, taken = taken, taken + len(entry.value)
        return before == 0 or taken <= max_bytes

    return list(takewhile(fits, entries))


_LOGS: Final[dict[str, MemoryLog]] = {}


def memory_log(name: str, partitions: int) -> MemoryLog:
    """The log of this name in this process, made when it is first asked for."""
    return _LOGS.setdefault(name, MemoryLog(partitions))
