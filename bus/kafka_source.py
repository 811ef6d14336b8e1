"""The reading end of Kafka: any partition from any offset, over one connection per process.

In: records of the topic. Out: entries; lane from the record's key, append time from its timestamp. Positions belong to the
reader; group offsets are written now and then for people who look at the lag, and read only by who asks to start there. Clients
are costly to make, so `close` gives them back to a pool of the process, with their positions: the next source of the same target
goes on without a seek. One fetch brings records of all partitions that were read lately; what nobody has asked for yet is kept, up
to a bound.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import errors
from kafka.admin import KafkaAdminClient
from kafka.consumer import KafkaConsumer as Client
from kafka.structs import OffsetAndMetadata, TopicPartition

from bus.contract import Entry, partition_of
from bus.kafka_client import MAX_MESSAGE_BYTES, KafkaTarget, Settings, connect, ensure_topic, located, require_append_times
from bus.lane_map import recorded_partitions
from common.errors import BusError, BusReplacedError, OffsetGoneError
from common.metrics import Counters

_PREFERRED: Final[Settings] = {
    "fetch_max_wait_ms": 100,
    "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    "fetch_max_bytes": 16 << 20,
}
_FIXED: Final[Settings] = {
    "group_id": None,
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "check_crcs": False,
    # All that came is taken at once: of a partition that was paused with a part of it, kafka-python 3 may never give the rest.
    "max_poll_records": 1 << 30,
}
_KEPT_BYTES: Final = 4 << 20
"""A partition of which this much waits to be read is not fetched."""
_ANSWER_S: Final = 5.0
"""Brokers that do not answer a question within this time cannot be reached."""
_COMMIT_EVERY_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.1
_COORDINATOR_TO_COME: Final = (errors.CoordinatorNotAvailableError, errors.CoordinatorLoadInProgressError)


@dataclass(slots=True)
class _Partition:
    """What is known of one partition: its client's name, where its reader stands, and what was fetched for it beyond that."""

    name: TopicPartition
    position: int = -1
    entries: deque[Entry] = field(default_factory=deque)
    kept_bytes: int = 0
    paused: bool = False

    def take(self, max_bytes: int) -> list[Entry]:
        taken: list[Entry] = []
        while self.entries and max_bytes > 0:
            taken.append(self.entries.popleft())
            max_bytes -= len(taken[-1].value)
            self.kept_bytes -= len(taken[-1].value)
        if taken:
            self.position = taken[-1].offset + 1
        return taken

    def move(self, offset: int) -> None:
        self.position = offset
        self.entries.clear()
        self.kept_bytes = 0


class _Connection:
    """One client of a target with its positions. Not thread-safe: a source has it to itself while it is open."""

    def __init__(self, target: KafkaTarget) -> None:
        self.target = target
        self.facts = ensure_topic(target)
        self.client: Any = connect(Client, target, _PREFERRED, _FIXED)
        self._known: dict[int, _Partition] = {}
        self._topic_id: Any = self._topic_id_now()
        self.generation = 0

    @property
    def partitions(self) -> int:
        with located(self.target, "cannot be reached"):
            found = self.client.partitions_for_topic(self.target.topic)
        if not found:
            raise BusError(f"{self.target}: topic {self.target.topic} is gone; make it again, or correct bus.url")
        return len(found)

    def check_identity(self) -> None:
        """Notice a topic that was made anew under the same name, as of the last metadata."""
        now = self._topic_id_now()
        if now is None or now == self._topic_id:
            return
        self.facts = ensure_topic(self.target)
        self.generation += self._topic_id is not None
        self._topic_id = now
        self._known.clear()
        self._assign()

    def offset_at(self, partition: int, time_ms: int) -> int:
        """First offset of a record appended then or later."""
        name = TopicPartition(self.target.topic, partition)
        with located(self.target, f"does not tell the offsets of {self.target.topic}/{partition}"):
            found = self.client.offsets_for_times({name: max(0, time_ms)}, timeout_ms=_ANSWER_S * 1000)[name]
        return self.bound(partition, oldest=False) if found is None else int(found.offset)

    def _topic_id_now(self) -> Any:
        # The library's public metadata have no topic ids (KIP-516); older brokers tell none.
        return self.client._cluster.topic_id(self.target.topic)

    def bound(self, partition: int, oldest: bool) -> int:
        """First offset there is, or the one that comes next."""
        name = TopicPartition(self.target.topic, partition)
        ask = self.client.beginning_offsets if oldest else self.client.end_offsets
        with located(self.target, f"does not tell the offsets of {self.target.topic}/{partition}"):
            return int(ask([name], timeout_ms=_ANSWER_S * 1000)[name])

    def stand_at(self, partition: int, offset: int) -> _Partition | None:
        """Make the next fetch of the partition start at `offset`; None if the log does not reach that far yet."""
        known = self._known.get(partition)
        if known is not None and known.position == offset:
            return known
        begin = self.bound(partition, oldest=True)
        if offset < begin:
            where = f"{self.target}, {self.target.topic}/{partition}"
            raise OffsetGoneError(f"{where}: starts at offset {begin}, {offset} is gone (retention was shorter than the lag)")
        if offset > self.bound(partition, oldest=False):
            return None
        if known is None:
            known = self._known[partition] = _Partition(TopicPartition(self.target.topic, partition))
            self._assign()
        self.client.seek(known.name, offset)
        known.move(offset)
        self.resume(known)  # what it was paused for is gone
        return known

    def fetch(self, timeout_s: float) -> bool:
        """Wait for records of any partition and file them; whether any came."""
        records: Mapping[TopicPartition, Sequence[Any]] = {}
        try:
            with located(self.target, "cannot be read"):
                records = self.client.poll(timeout_ms=int(timeout_s * 1000))
                self._file(records)
        except BusError as error:
            if not isinstance(error.__cause__, errors.OffsetOutOfRangeError):
                raise
            # Retention overtook a position: its next reader learns it from `stand_at`.
            for name in error.__cause__.args[0]:
                self._known.pop(name.partition, None)
            self._assign()
        return bool(records)

    def renewed(self) -> "_Connection":
        """Another one in the place of this, which is closed; raises BusError, and then nothing has changed."""
        fresh = _Connection(self.target)
        anew = None not in (fresh._topic_id, self._topic_id) and fresh._topic_id != self._topic_id
        fresh.generation = self.generation + anew
        self.client.close(autocommit=False, timeout_ms=0)
        return fresh

    def resume(self, known: _Partition) -> None:
        if known.paused and known.kept_bytes < _KEPT_BYTES:
            known.paused = False
            self.client.resume(known.name)

    def _assign(self) -> None:
        self.client.assign([known.name for known in self._known.values()])

    def _file(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        for name, batch in records.items():
            known = self._known[name.partition]
            for record in batch:
                lane = int.from_bytes(record.key or b"", "big")
                known.entries.append(Entry(name.partition, record.offset, lane, record.timestamp, record.value))
                known.kept_bytes += len(record.value)
            if known.kept_bytes >= _KEPT_BYTES and not known.paused:
                known.paused = True
                self.client.pause(name)


_POOL: Final[dict[tuple[int, str], list[_Connection]]] = {}
_POOL_LOCK: Final = threading.Lock()


def _pool_key(target: KafkaTarget) -> tuple[int, str]:
    """Connections belong to a process (they do not survive a fork) and to exactly equal settings."""
    return os.getpid(), f"{target} {target.topic} {sorted(target.options.items())}"


def _borrow(target: KafkaTarget) -> _Connection:
    with _POOL_LOCK:
        idle = _POOL.get(_pool_key(target), [])
        if idle:
            return idle.pop()
    return _Connection(target)


def close_pool() -> None:
    """Close the idle connections of this process."""
    with _POOL_LOCK:
        idle = [connection for key, found in _POOL.items() if key[0] == os.getpid() for connection in found]
        _POOL.clear()
    for connection in idle:
        connection.client.close(autocommit=False, timeout_ms=0)


class KafkaSource:
    """Raises BusError from the constructor, within seconds, when no broker answers.

    With `append_times` also for a topic whose records do not carry the brokers' clock.
    """

    def __init__(
        self,
        target: KafkaTarget,
        counters: Counters | None = None,
        commit_every_s: float = _COMMIT_EVERY_S,
        append_times: bool = True,
    ) -> None:
        self._target = target
        self._counters = Counters() if counters is None else counters
        self._commit_every_s = commit_every_s
        self._committed_at = time.monotonic()
        self._released: dict[int, int] = {}
        self._generations: dict[int, int] = {}
        self._admin: Any = None
        self._home: int | None = None
        self._connection: _Connection | None = _borrow(target)
        if append_times:
            require_append_times(target, self._connection.facts)
        self._append_times = append_times

    @property
    def partitions(self) -> int:
        """Partitions of the topic, as of the last metadata (at most ten seconds old)."""
        return self._open().partitions

    def home_of(self, lane: int) -> int:
        """The partition of a lane, as its producers wrote it down; raises BusError."""
        if self._home is None:
            self._home = recorded_partitions(self._target) or self.partitions
        return partition_of(lane, self._home)

    def begin(self, partition: int) -> int:
        """Offset of the oldest record that retention has left."""
        return self._open().bound(partition, oldest=True)

    def end(self, partition: int) -> int:
        """Offset of the next record."""
        return self._open().bound(partition, oldest=False)

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        """Entries from `offset` on; see the contract. With `wait_s` 0 what is on the broker is still fetched."""
        connection = self._open()
        self._check_identity(connection, partition)
        deadline = time.monotonic() + wait_s
        answer_by = deadline + _ANSWER_S
        while True:
            known = connection.stand_at(partition, offset)
            if known is not None and (entries := known.take(max(1, max_bytes))):
                connection.resume(known)
                return entries
            left = deadline - time.monotonic()
            if left <= 0 and (known is None or offset >= connection.bound(partition, oldest=False)):
                return []
            if time.monotonic() > answer_by:
                self._connection = connection.renewed()
                what = f"{self._target.topic}/{partition} does not give offset {offset} that it has, within {_ANSWER_S:g} s"
                raise BusError(f"{self._target}: {what}: connected anew")
            if connection.fetch(max(0.01, min(left, 0.2)) if left > 0 else 0.2):
                answer_by = max(answer_by, time.monotonic() + _ANSWER_S)

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Offset of the first record that a broker took at `time_ms` or later, or the end."""
        return self._open().offset_at(partition, time_ms)

    def released(self, partition: int) -> int | None:
        """The group's committed offset."""
        name, group = TopicPartition(self._target.topic, partition), self._target.group
        answer_by = time.monotonic() + _ANSWER_S
        while True:
            try:
                with located(self._target, f"does not tell the offsets of group {group}"):
                    found = self._asking().list_group_offsets({group: [name]})[group].get(name)
                    break
            except BusError as error:
                # A broker finds the group's coordinator when it is first asked for it.
                if not isinstance(error.__cause__, _COORDINATOR_TO_COME) or time.monotonic() > answer_by:
                    raise
                time.sleep(_LOOK_AGAIN_S)
        return int(found.offset) if found is not None and found.offset >= 0 else None

    def release(self, partition: int, offset: int) -> None:
        """Note the position for the group's lag; written every few seconds, as well as it goes."""
        self._released[partition] = offset
        if time.monotonic() - self._committed_at >= self._commit_every_s:
            self._commit()

    def close(self) -> None:
        """Write the noted positions and give the connection back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._commit()
        if self._admin is not None:
            self._admin.close()
        with _POOL_LOCK:
            _POOL.setdefault(_pool_key(self._target), []).append(connection)

    def _check_identity(self, connection: _Connection, partition: int) -> None:
        connection.check_identity()
        before = self._generations.setdefault(partition, connection.generation)
        if before != connection.generation:
            if self._append_times and connection.facts.append_times is False:
                connection.facts = ensure_topic(self._target)
                require_append_times(self._target, connection.facts)
            self._generations[partition] = connection.generation
            raise BusReplacedError(f"{self._target}: topic {self._target.topic} was made anew")

    def _asking(self) -> Any:
        if self._admin is None:
            self._admin = connect(KafkaAdminClient, self._target)
        return self._admin

    def _open(self) -> _Connection:
        if self._connection is None:
            raise BusError(f"{self._target}: the source is closed")
        return self._connection

    def _commit(self) -> None:
        if not self._released:
            return
        self._committed_at = time.monotonic()
        topic = self._target.topic
        offsets = {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in self._released.items()}
        try:
            results = self._asking().alter_group_offsets(self._target.group, offsets)
            failed = sum(1 for outcome in results.values() if outcome is not errors.NoError)
        except (errors.KafkaError, BusError):
            failed = len(offsets)
        self._counters.add("bus_commit_failures_total", failed)
        self._released.clear()
