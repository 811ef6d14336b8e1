"""The writing end of Kafka: acknowledged by all replicas, idempotent, in order per lane.

In: batches. Out: one record per batch, key = lane (4 octets, big-endian), in the partition of the lane (bus.lane_map). The
client keeps what it was given through an outage of any length and delivers it in order afterwards; who cannot wait looks at the
`Delivery` (bus.draining).
"""

import contextlib
import time
from collections import deque
from typing import Any, Final

from kafka import errors
from kafka.producer import KafkaProducer as Client

from bus.contract import partition_of
from bus.kafka_client import KafkaTarget, Settings, connect, ensure_topic, located, require_append_times
from bus.lane_map import home_partitions
from common.errors import BatchTooLargeError, BusError
from common.metrics import Counters

_WAITING_BYTES: Final = 64 << 20
"""Octets that may wait for acknowledgement before `send` refuses more."""
_FOR_EVER_MS: Final = (1 << 31) - 1
"""The client must never give up a batch on its own: newer ones would overtake it."""
_PREFERRED: Final[Settings] = {"batch_size": 1 << 20, "max_block_ms": 1_000}
_FIXED: Final[Settings] = {
    "acks": "all",
    "enable_idempotence": True,
    "delivery_timeout_ms": _FOR_EVER_MS,
    "max_request_size": 16 << 20,
}
_CLOSE_S: Final = 5.0
_RECORD_OVERHEAD: Final = 512
"""More than the headers of a record batch with one record take."""


class Delivery:
    """One batch on its way; `taken` once it is acknowledged, `failure` if it never will be."""

    __slots__ = ("_future", "lane", "size")

    def __init__(self, lane: int, size: int, future: Any) -> None:
        self.lane = lane
        self.size = size
        self._future = future

    @property
    def settled(self) -> bool:
        """Whether its fate is known."""
        return bool(self._future.is_done)

    @property
    def failure(self) -> str:
        """Why Kafka did not take it; empty if it did, or may still."""
        return _reason(self._future.exception) if self.settled and self._future.failed() else ""

    def wait(self, timeout_s: float) -> bool:
        """Wait until its fate is known; whether it is."""
        with contextlib.suppress(errors.KafkaError):
            self._future.get(timeout=max(0.0, timeout_s))
        return self.settled


class KafkaProducer:
    """Raises BusError from the constructor, within seconds, when no broker answers; makes the topic if it is missing."""

    def __init__(self, target: KafkaTarget, counters: Counters | None = None) -> None:
        self._target = target
        self._counters = Counters() if counters is None else counters
        self._client: Any = connect(Client, target, _PREFERRED, _FIXED)
        self._waiting: deque[Delivery] = deque()
        self._waiting_bytes = 0
        self._failure = ""
        self._failed_lanes: set[int] = set()
        try:
            facts = ensure_topic(target)
            require_append_times(target, facts)
            self._max_bytes = facts.max_bytes
            with located(target, f"topic {target.topic} is not to be seen"):
                there_are = len(self._client.partitions_for(target.topic))
            self._partitions = home_partitions(target, there_are)
        except BusError:
            self._client.close(timeout=0)
            raise

    @property
    def waiting_bytes(self) -> int:
        """Octets given to the client whose fate is not known, as of the last send or flush."""
        return self._waiting_bytes

    def send(self, lane: int, value: bytes) -> None:
        """Hand one batch to the client; raises BusError when it is too large or too much waits already."""
        if self._client is None:
            raise BusError(f"{self._target}: the producer is closed")
        self.settle()
        if self._waiting_bytes > _WAITING_BYTES:
            raise BusError(f"{self._target} takes nothing: {self._waiting_bytes} octets wait for acknowledgement")
        self.hand_over(lane, value)

    def hand_over(self, lane: int, value: bytes) -> Delivery:
        """Hand one batch to the client and do not wait; raises BusError when no broker would ever take it."""
        self.check_size(len(value))
        partition = partition_of(lane, self._partitions)
        with located(self._target, "does not take batches"):
            future = self._client.send(self._target.topic, value, key=lane.to_bytes(4, "big"), partition=partition)
        delivery = Delivery(lane, len(value), future)
        self._waiting.append(delivery)
        self._waiting_bytes += delivery.size
        return delivery

    def check_size(self, size: int) -> None:
        """Raise BatchTooLargeError if the topic would never take a batch of `size` octets."""
        if size + _RECORD_OVERHEAD > self._max_bytes:
            raise BatchTooLargeError(
                f"{self._target}: a batch of {size} octets is too large for topic {self._target.topic}; "
                f"raise its max.message.bytes ({self._max_bytes}) or lower ingest.batch_bytes"
            )

    def flush(self, timeout_s: float) -> None:
        """Wait until all is acknowledged; raises BusError with the first failure, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for delivery in tuple(self._waiting):
            if not delivery.wait(deadline - time.monotonic()):
                break
        self.settle()
        if self._waiting:
            what = f"{len(self._waiting)} batches not acknowledged within {timeout_s:g} s"
            raise BusError(f"{self._target}, topic {self._target.topic}: {what}; are its brokers up?")
        failure, self._failure = self._failure, ""
        if failure:
            raise BusError(f"{self._target}, topic {self._target.topic}: batches were refused: {failure}")

    def close(self) -> None:
        """Flush for a few seconds, then let go; raises BusError if something was not acknowledged."""
        if self._client is None:
            return
        try:
            self.flush(_CLOSE_S)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go at once; what is not acknowledged may or may not arrive."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            client.close(timeout=0)
        except errors.KafkaTimeoutError:
            # With batches left the public close() gives up before it stops the sender thread.
            client._sender.force_close()

    def settle(self) -> None:
        """Count and forget the deliveries at the head whose fate is known; the first failure is kept for `flush`."""
        while self._waiting and self._waiting[0].settled:
            delivery = self._waiting.popleft()
            self._waiting_bytes -= delivery.size
            if delivery.failure:
                self._failure = self._failure or delivery.failure
                self._failed_lanes.add(delivery.lane)
                continue
            self._counters.add("bus_entries_total", bus="kafka")
            self._counters.add("bus_bytes_total", delivery.size, bus="kafka")
            if delivery.lane in self._failed_lanes:
                self._failed_lanes.discard(delivery.lane)
                self._counters.add("bus_overtaken_total")


def _reason(error: BaseException | None) -> str:
    return " ".join(str(error).split()) or type(error).__name__
