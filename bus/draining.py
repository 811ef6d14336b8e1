"""Kafka with a spool behind it: what Kafka cannot take goes to the spool, and from there to Kafka when it is back.

In: batches. Out: the same to Kafka, in order per lane. Refuses to let its caller wait for Kafka: `send` never does, `flush` waits
at most `bound_s` and then makes durable in the spool what is not acknowledged.

Two states. *Direct*: batches are handed to the Kafka client; the spool has nothing that was not handed over before them. When an
acknowledgement is late, what is under way is copied to the spool (the client still delivers it, too) and the state becomes
*spooling*: new batches go to the spool alone, and a thread hands the spool over from its released position on, as soon as
Kafka acknowledges again. With the last entry handed over the state is direct again. An entry is released when it is acknowledged;
so a crash in between sends it twice, which readers notice by its identity (collector, epoch, lane, seq). Nothing newer of a
lane is ever handed over before something older: that would make readers drop the older one as a repeat.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bus.segments import Released
from bus.spool import DEFAULT_LIMITS, SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.errors import BatchTooLargeError, BusError, OffsetGoneError
from common.logs import Limited
from common.metrics import Counters

log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 20
"""Handed over at once, while `send` waits: some milliseconds."""
_WINDOW_BYTES: Final = 16 << 20
"""Octets under way to Kafka before the drain pauses, or, in the direct state, before the spool takes over."""
_RETRY_S: Final = 1.0
_LOOK_AGAIN_S: Final = 0.05


class Delivery(Protocol):
    """A batch that the client has taken; see bus.kafka."""

    @property
    def size(self) -> int:
        """Octets of the batch."""

    @property
    def settled(self) -> bool:
        """Whether its fate is known."""

    @property
    def failure(self) -> str:
        """Why it was not taken; empty if it was, or may still be."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until its fate is known; whether it is."""


class Client(Protocol):
    """What draining needs of bus.kafka.KafkaProducer: batches are delivered in the order in which they were handed over."""

    def check_size(self, size: int) -> None:
        """Raise BatchTooLargeError for a batch that the topic will never take."""

    def hand_over(self, lane: int, value: bytes) -> Delivery:
        """Take one batch, without waiting."""

    def settle(self) -> None:
        """Do the accounts of deliveries whose fate is known."""

    def abandon(self) -> None:
        """Let go at once."""


@dataclass(slots=True)
class _UnderWay:
    """A batch that the client has; in the spool at `offset`, or else kept in `value` until it is acknowledged."""

    delivery: Delivery
    lane: int
    since: float
    value: bytes | None
    offset: int | None

    @property
    def unsecured(self) -> bool:
        return self.value is not None


class SpoolingProducer:
    """A producer that takes batches whether Kafka is there or not, up to the limits of its spool.

    `connect` makes a connected KafkaProducer or raises BusError. The spool at `path` belongs to this producer alone; what an
    earlier process left in it is drained first. The thread that drains starts with the first batch; with `threaded` false there
    is none, and whoever owns the producer calls `drain`.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        path: Path,
        lanes: int = 16,
        limits: SpoolLimits = DEFAULT_LIMITS,
        counters: Counters | None = None,
        bound_s: float = 1.0,
        threaded: bool = True,
    ) -> None:
        self._connect = connect
        self._counters = Counters() if counters is None else counters
        self._bound_s = bound_s
        self._threaded = threaded
        self._place = path
        self._told = Limited(log, period_s=60.0)
        self._spool = SpoolProducer(path, lanes, limits, self._counters)
        self._source = SpoolSource(path, lanes, self._counters)
        released = Released(path)
        self._next = {lane: max(released.get(lane), self._source.begin(lane)) for lane in range(self._source.partitions)}
        self._kafka: Client | None = None
        self._under_way: deque[_UnderWay] = deque()
        self._under_way_bytes = 0
        self._direct = False
        self._proven = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def direct(self) -> bool:
        """Whether batches go to Kafka at once, with nothing left to be drained."""
        return self._direct

    def send(self, lane: int, value: bytes) -> None:
        """Take one batch; raises BusError when it is too large for the topic, or when the spool cannot take it either."""
        self._start()
        with self._lock:
            self._settle()
            if self._direct and self._late():
                self._stop_direct()
            if not (self._direct and self._kafka is not None and self._sent_directly(self._kafka, lane, value)):
                self._secure()
                self._next.setdefault(lane, self._spool.end(lane))
                self._spill(lane, value)

    def flush(self, timeout_s: float) -> None:
        """Return when all is acknowledged by Kafka or durable in the spool: within the bound plus the time the disk takes."""
        self._start()
        deadline = time.monotonic() + min(timeout_s, self._bound_s)
        with self._lock:
            waiting = [batch.delivery for batch in self._under_way] if self._direct else []
        for delivery in waiting:
            if not delivery.wait(deadline - time.monotonic()):
                break
        with self._lock:
            self._settle()
            if self._direct and any(batch.unsecured for batch in self._under_way):
                self._stop_direct()
            self._secure()
            self._spool.flush(timeout_s)

    def drain(self) -> float:
        """One step towards an empty spool; returns for how many seconds there is nothing to do."""
        try:
            return self._drain_some()
        except BusError as error:
            self._counters.add("bus_drain_failures_total")
            self._told.warning("drain", str(error))
        except Exception as error:  # noqa: BLE001 - whatever the client's library raises: nothing is lost, and draining must go on
            self._counters.add("bus_drain_failures_total")
            self._told.warning("drain", f"draining {self._place} failed, trying again: {type(error).__name__}: {error}")
            with self._lock:
                self._give_up()
        return _RETRY_S

    def close(self) -> None:
        """Flush, stop draining and let go; what is left in the spool is for the next process."""
        if self._stopping.is_set():
            return
        with ExitStack() as leaving:
            leaving.callback(self._abandon)
            leaving.callback(self._source.close)
            leaving.callback(self._spool.close)
            leaving.callback(self._halt)
            self.flush(self._bound_s)

    def _halt(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._settle()

    def _abandon(self) -> None:
        if self._kafka is not None:
            self._kafka.abandon()
            self._kafka = None

    def _start(self) -> None:
        if self._stopping.is_set():
            raise BusError("the producer is closed")
        if self._thread is None and self._threaded:
            self._thread = threading.Thread(target=self._drain_on, name="nephrite-drain", daemon=True)
            self._thread.start()

    def _late(self) -> bool:
        """Whether Kafka has been owing an acknowledgement for longer than the bound, or for more than the window."""
        if not self._under_way:
            return False
        return self._under_way_bytes > _WINDOW_BYTES or time.monotonic() - self._under_way[0].since > self._bound_s

    def _stop_direct(self) -> None:
        self._direct = False
        self._proven = False
        self._counters.add("bus_outages_total")
        self._wake.set()

    def _sent_directly(self, kafka: Client, lane: int, value: bytes) -> bool:
        kafka.check_size(len(value))
        with suppress(BusError):
            self._hand_over(kafka, lane, value, None)
        return self._direct

    def _hand_over(self, kafka: Client, lane: int, value: bytes, offset: int | None) -> None:
        try:
            delivery = kafka.hand_over(lane, value)
        except BusError:
            self._give_up()
            raise
        kept = value if offset is None else None
        self._under_way.append(_UnderWay(delivery, lane, time.monotonic(), kept, offset))
        self._under_way_bytes += len(value)

    def _secure(self) -> None:
        """Copy to the spool what only the client has, in the order in which it was handed over."""
        if self._direct:
            return
        for batch in self._under_way:
            if batch.value is None:
                continue
            batch.offset = self._spill(batch.lane, batch.value)
            batch.value = None
            self._next[batch.lane] = self._spool.end(batch.lane)

    def _spill(self, lane: int, value: bytes) -> int | None:
        """Put one batch into the spool; its offset there, or None if the spool was full and dropped it."""
        offset = self._spool.end(lane)
        self._spool.send(lane, value)
        if self._spool.end(lane) == offset:
            return None
        self._counters.add("bus_spilled_total")
        return offset

    def _settle(self) -> None:
        """Release what Kafka acknowledged; give up a client that failed a batch."""
        done: dict[int, int] = {}
        while self._under_way and self._under_way[0].delivery.settled:
            if self._under_way[0].delivery.failure:
                self._give_up()
                break
            batch = self._under_way.popleft()
            self._under_way_bytes -= batch.delivery.size
            self._proven = True
            if batch.offset is not None:
                done[batch.lane] = batch.offset + 1
                self._counters.add("bus_drained_total")
        for lane, offset in done.items():
            self._source.release(lane, offset)
        if self._kafka is not None:
            self._kafka.settle()

    def _give_up(self) -> None:
        """Put everything from the failed batch on into the spool, to be handed to a new client."""
        if self._direct:
            self._stop_direct()
        self._proven = False
        self._secure()
        for batch in reversed(self._under_way):
            if batch.offset is not None:
                self._next[batch.lane] = batch.offset
        self._under_way.clear()
        self._under_way_bytes = 0
        if self._kafka is not None:
            self._kafka.settle()
        self._abandon()

    def _drain_on(self) -> None:
        while not self._stopping.is_set():
            if pause_s := self.drain():
                self._wake.wait(pause_s)
                self._wake.clear()

    def _drain_some(self) -> float:
        """One step of draining; returns how long there is nothing to do."""
        if self._kafka is None:
            try:
                kafka = self._connect()
            except BusError as error:
                self._counters.add("bus_connect_failures_total")
                self._told.warning("connect", f"{error}; batches go to {self._place} until it can be reached")
                return _RETRY_S
            with self._lock:
                self._kafka, self._proven = kafka, True
        with self._lock:
            self._settle()
            if self._direct or self._kafka is None:
                return _RETRY_S
            self._secure()
            waiting = self._under_way[0].delivery if self._under_way else None
            if waiting is None or (self._proven and self._under_way_bytes < _WINDOW_BYTES):
                self._hand_over_spooled(self._kafka)
                return 0.0
        waiting.wait(_LOOK_AGAIN_S)
        return 0.0

    def _hand_over_spooled(self, kafka: Client) -> None:
        """Hand over a chunk of each lane that has some; with all handed over, the state is direct again."""
        self._spool.publish()
        left = _CHUNK_BYTES
        for lane, position in self._next.items():
            if position < self._spool.end(lane) and left > 0:
                left -= self._hand_over_lane(kafka, lane, position, left)
        if all(position >= self._spool.end(lane) for lane, position in self._next.items()):
            self._direct = True

    def _hand_over_lane(self, kafka: Client, lane: int, position: int, max_bytes: int) -> int:
        try:
            entries = self._source.read(lane, position, max_bytes)
        except OffsetGoneError:
            # Dropped for want of room, and counted by the spool when it did so.
            self._next[lane] = self._source.begin(lane)
            return 0
        for entry in entries:
            try:
                kafka.check_size(len(entry.value))
            except BatchTooLargeError:
                self._counters.add("bus_dropped_total", reason="too_large")
            else:
                self._hand_over(kafka, lane, entry.value, entry.offset)
            self._next[lane] = entry.offset + 1
        if not entries:
            # All is published, so what is missing up to the end is a gap in the numbers.
            self._next[lane] = self._spool.end(lane)
        return sum(len(entry.value) for entry in entries)
