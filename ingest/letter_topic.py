"""Dead letters in a Kafka topic, of one or of many collectors, as long as the topic's retention keeps them.

In: entries, sent by a thread of its own. Out: letters, numbered by their offset. While Kafka takes nothing, a bounded number of
octets waits; what does not fit, or is refused, is counted. A topic that is made here keeps about as much as the settings say.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget, forget_records
from bus.kafka_source import KafkaSource
from common.errors import BusError
from common.logs import Limited
from ingest.dead_letters import DeadLetter, letters_of

_WAITING_BYTES: Final = 8 << 20
_RETRY_S: Final = 2.0
_FLUSH_S: Final = 10.0
_SEGMENTS: Final = 8
_SMALLEST_SEGMENT: Final = 1 << 20
_log = Limited(logging.getLogger(__name__))


class TopicLetters:
    """The store in one partition of `target`'s topic."""

    def __init__(self, target: KafkaTarget, limit_bytes: int) -> None:
        segment = max(_SMALLEST_SEGMENT, limit_bytes // _SEGMENTS)
        configs = {"retention.bytes": str(limit_bytes), "segment.bytes": str(segment)}
        self._target = replace(target, partitions=1, configs=configs)

    def open(self) -> "TopicLetterbox":
        """The writing end; its thread runs until it is closed."""
        return TopicLetterbox(self._target)

    def read(self) -> Iterator[DeadLetter]:
        """All letters that retention has left."""
        source = KafkaSource(self._target)
        try:
            yield from letters_of(source, source.begin(0))
        finally:
            source.close()

    def forget(self, below: int) -> None:
        """Let go of the letters with smaller numbers, for all collectors."""
        forget_records(self._target, 0, below)


class TopicLetterbox:
    """The writing end."""

    def __init__(self, target: KafkaTarget) -> None:
        self._target = target
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._producer: KafkaProducer | None = None
        self.given = 0
        self.kept = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="nephrite-letters", daemon=True)
        self._thread.start()

    def put(self, entry: bytes) -> None:
        """Keep one entry, unless too much waits."""
        with self._changed:
            self.given += 1
            if self._waiting_bytes + len(entry) > _WAITING_BYTES:
                self.failed += 1
                return
            self._waiting.append(entry)
            self._waiting_bytes += len(entry)
            self._changed.notify()

    def flush(self) -> None:
        """Nothing to do: entries are sent as they come."""

    def close(self) -> None:
        """Send what waits, as far as Kafka takes it at once."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while entries := self._next():
            self._deliver(entries)
        if self._producer is not None:
            self._producer.abandon()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or bool(self._waiting))
            entries, self._waiting = list(self._waiting), deque()
            return entries

    def _deliver(self, entries: list[bytes]) -> None:
        """Until all are acknowledged or refused; once only when it is time to stop."""
        handed_over = 0
        while True:
            try:
                if self._producer is None:
                    self._producer = KafkaProducer(self._target)
                for entry in entries[handed_over:]:
                    self._producer.send(0, entry)
                    handed_over += 1
                self._producer.flush(_FLUSH_S)
                break
            except BusError as error:
                _log.warning("dead letters", f"dead letters are not taken, {len(entries)} wait: {error}")
                refused = handed_over == len(entries) and self._producer is not None and not self._producer.waiting_bytes
                if refused or self._stopping.wait(_RETRY_S):
                    self._settle(entries, kept=False)
                    return
        self._settle(entries, kept=True)

    def _settle(self, entries: list[bytes], kept: bool) -> None:
        with self._changed:
            self._waiting_bytes -= sum(map(len, entries))
            if kept:
                self.kept += len(entries)
            else:
                self.failed += len(entries)
