"""The buses under test, each with what only a test needs: losing old entries, and growing."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions

from bus.contract import Entry, Producer, Source, partition_of
from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget, ensure_topic
from bus.kafka_source import KafkaSource, close_pool
from bus.memory import MemoryLog, MemoryProducer, MemorySource
from bus.segments import bases_in, lane_folder, segment_path
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource

PARTITIONS = 4
PATIENCE_S = 20.0


class TestedBus(ABC):
    """One empty bus; every end that it gives out is closed at the end of the test."""

    __test__ = False
    deletes_what_is_released = True

    def __init__(self) -> None:
        self._ends: list[Producer | Source] = []

    def producer(self) -> Producer:
        end = self._producer()
        self._ends.append(end)
        return end

    def source(self) -> Source:
        end = self._source()
        self._ends.append(end)
        return end

    def close(self) -> None:
        for end in self._ends:
            end.close()

    @abstractmethod
    def _producer(self) -> Producer: ...

    @abstractmethod
    def _source(self) -> Source: ...

    @abstractmethod
    def expire(self, partition: int, offset: int) -> None:
        """Lose the entries below `offset`, as retention does (a spool: at least those in segments below it)."""

    def home(self, lane: int) -> int:
        """The partition of a lane."""
        return partition_of(lane, PARTITIONS)

    @abstractmethod
    def grow(self, partitions: int) -> None:
        """Have `partitions` partitions."""


class MemoryBus(TestedBus):
    def __init__(self) -> None:
        super().__init__()
        self._log = MemoryLog(PARTITIONS)

    def _producer(self) -> Producer:
        return MemoryProducer(self._log)

    def _source(self) -> Source:
        return MemorySource(self._log)

    def expire(self, partition: int, offset: int) -> None:
        self._log.drop(partition, offset)

    def grow(self, partitions: int) -> None:
        self._log.grow(partitions)


class SpoolBus(TestedBus):
    """Segments hold one small entry each, so that every test crosses many."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._limits = SpoolLimits(segment_bytes=24, fsync=False)

    def _producer(self) -> Producer:
        return SpoolProducer(self._path, PARTITIONS, self._limits)

    def _source(self) -> Source:
        return SpoolSource(self._path, PARTITIONS)

    def expire(self, partition: int, offset: int) -> None:
        folder = lane_folder(self._path, partition)
        for base in bases_in(folder):
            if base < offset:
                segment_path(folder, base).unlink()

    def home(self, lane: int) -> int:
        return lane  # a folder each

    def grow(self, partitions: int) -> None:
        self.close()
        SpoolProducer(self._path, partitions, self._limits).close()


class KafkaBus(TestedBus):
    deletes_what_is_released = False

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__()
        self._target = KafkaTarget((bootstrap,), topic, PARTITIONS, options={"metadata_max_age_ms": 200})
        ensure_topic(self._target)

    def _producer(self) -> Producer:
        return KafkaProducer(self._target)

    def _source(self) -> Source:
        return KafkaSource(self._target)

    def close(self) -> None:
        super().close()
        close_pool()

    def expire(self, partition: int, offset: int) -> None:
        with self._admin() as admin:
            admin.delete_records({TopicPartition(self._target.topic, partition): offset})

    def grow(self, partitions: int) -> None:
        with self._admin() as admin:
            admin.create_partitions({self._target.topic: NewPartitions(partitions)})

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=list(self._target.servers))
        try:
            yield admin
        finally:
            admin.close()


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail when it does not within a patience that only a fault uses up."""
    tick = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        tick.wait(0.01)


def read_all(source: Source, partition: int, offset: int = 0, count: int | None = None) -> list[Entry]:
    """Entries from `offset` on: `count` of them, or all up to the end there is now."""
    entries: list[Entry] = []
    end = source.end(partition)
    while len(entries) < count if count is not None else offset < end:
        found = source.read(partition, offset, 1 << 16, PATIENCE_S if count is not None else 0.0)
        if not found:
            break
        entries += found
        offset = found[-1].offset + 1
    return entries


def values(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.value for entry in entries]


def read_back(path: Path) -> list[bytes]:
    """What the first lane of a spool has."""
    source = SpoolSource(path)
    try:
        entries = read_all(source, 0, source.begin(0))
        assert [entry.offset for entry in entries] == sorted({entry.offset for entry in entries})
        return values(entries)
    finally:
        source.close()
