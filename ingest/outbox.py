"""Closed batches on their way to the bus: kept until the bus has acknowledged them, tried again while it does not.

In: batches in order. Out: the same batches to a Producer, in order, by a thread of its own, so that a slow bus does not stop the
decoding. What was given but not acknowledged is given again; readers drop repeats by the batches' identity. Never drops a batch
while it runs: when it is full, the service stops taking datagrams, and those are counted.
"""

import logging
import threading
from collections import deque
from typing import Final

from bus.contract import Producer
from common.errors import BatchTooLargeError, BusError
from common.logs import Limited
from ingest.batcher import Batch

_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 10.0
_FLUSH_S: Final = 10.0
_ROUND_BYTES: Final = 16 << 20
_BATCH_OVERHEAD: Final = 200
_log = Limited(logging.getLogger(__name__))


class Outbox:
    """One sending thread over one producer. `given`, `batches`, `octets`, `errors` and `refused` only rise.

    What was the n-th to be `given` is on the bus, or never will be, once `batches` is n.
    """

    def __init__(self, producer: Producer, limit_bytes: int) -> None:
        self._producer = producer
        self._limit = limit_bytes
        self._waiting: deque[Batch] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._hurried = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="nephrite-send", daemon=True)
        self.given = 0
        self.batches = 0
        self.octets = 0
        self.errors = 0
        self.refused = 0
        self.last_error = ""

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, batches: list[Batch]) -> None:
        """Queue batches; never refuses, the limit is kept by whoever looks at `full`."""
        if not batches:
            return
        with self._changed:
            self._waiting.extend(batches)
            self.given += len(batches)
            self._waiting_bytes += sum(len(batch.value) + _BATCH_OVERHEAD for batch in batches)
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """Whether no more input should be taken."""
        return self._waiting_bytes >= self._limit

    @property
    def waiting(self) -> int:
        """Batches not yet acknowledged."""
        return len(self._waiting)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until it is no longer full; False when the time was up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.full, timeout_s)

    def stop(self, timeout_s: float) -> int:
        """Send what is left for at most `timeout_s`; how many batches the bus did not take."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, timeout_s)
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(_FLUSH_S)
        return len(self._waiting)

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while batches := self._next():
            try:
                self._deliver(batches)
                delay_s = _FIRST_DELAY_S
            except BusError as error:
                self._note(error)
                self._pause(delay_s)
                delay_s = min(delay_s * 2, _LAST_DELAY_S)

    def _next(self) -> list[Batch]:
        """The oldest batches, about one round of them; waits for some, empty when stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting))
            if self._stopping:
                return []
            batches: list[Batch] = []
            octets = 0
            for batch in self._waiting:
                if batches and octets + len(batch.value) > _ROUND_BYTES:
                    break
                batches.append(batch)
                octets += len(batch.value)
            return batches

    def _deliver(self, batches: list[Batch]) -> None:
        """Send in order; what the bus took before it refused one is flushed, so that its readers can make room."""
        taken = 0
        failure: BusError | None = None
        for batch in batches:
            try:
                self._producer.send(batch.lane, batch.value)
            except BatchTooLargeError as error:  # no attempt will ever succeed, and those behind it must not wait for it
                self.refused += 1
                _log.warning("batch", f"a batch of {batch.flows} flows is lost: {error}")
            except BusError as error:
                failure = error
                break
            taken += 1
        if taken:
            self._producer.flush(_FLUSH_S)
            self._forget(batches[:taken])
        if failure is not None:
            raise failure

    def _forget(self, batches: list[Batch]) -> None:
        with self._changed:
            for batch in batches:
                self._waiting.popleft()
                self._waiting_bytes -= len(batch.value) + _BATCH_OVERHEAD
                self.octets += len(batch.value)
            self.batches += len(batches)
            self._changed.notify_all()

    def _pause(self, delay_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._hurried, delay_s):
                return
            self._changed.wait_for(lambda: self._stopping, min(delay_s, _FIRST_DELAY_S))

    def _note(self, error: BusError) -> None:
        self.errors += 1
        self.last_error = str(error)
        _log.warning("bus", f"the bus does not take batches, {len(self._waiting)} wait: {error}")
