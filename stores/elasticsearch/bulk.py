"""Bulk requests: several at a time, cut to a size that the server takes well, repeated until it took every document or refused it.

In: Documents. Out: tallies, and a dead letter per document that the server will never take; StoreError when it took too long, so
that whoever waits fails and nothing is lost. Refuses to know what documents say. Sending one twice does no harm: raw documents are
created once, aggregates have versions, and both conflicts count as success.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import pyarrow as pa

from common.errors import StoreError
from stores.elasticsearch.client import NDJSON, Answer, Client, UnreachableError
from stores.elasticsearch.documents import Documents

_BRIEF: Final = "errors,items.*.error.type"
"""All that is needed where everything went well; an answer about every document would be larger than the documents."""
_WHOLE: Final = "errors,items.*.status,items.*.error.type,items.*.error.reason"
_CONFLICT: Final = "version_conflict_engine_exception"
_TRANSIENT: Final = frozenset({"cluster_block_exception", "process_cluster_event_timeout_exception"})
"""Item errors with a status below 500 that pass, such as the block on writing of a full disk."""
_BUSY: Final = 429
_TOO_LARGE: Final = 413
_DENIED: Final = (401, 403)
_BYTES: Final = (256 << 10, 4 << 20, 16 << 20)
"""Least, first and largest size of a request."""
_QUICK_S: Final = 1.0
_PAUSE_S: Final = (0.1, 20.0)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that the server refused for good: `reason` is its error's type, `lines` the action and the document."""

    index: str
    reason: str
    message: str
    lines: bytes


@dataclass(slots=True)
class Tallies:
    """What was sent: `documents` that the server has now, `conflicts` of them it had before; the rest are dead letters."""

    documents: int = 0
    conflicts: int = 0
    dead_letters: int = 0
    requests: int = 0
    repeats: int = 0
    bytes: int = 0

    def minus(self, other: "Tallies") -> "Tallies":
        """What came since."""
        return Tallies(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, so that tests need neither."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


@dataclass(slots=True)
class _Size:
    """The octets of a request: more after quick answers, half after a refusal."""

    bytes: int = _BYTES[1]

    def judge(self, refused: bool, seconds: float) -> None:
        if refused:
            self.bytes = max(_BYTES[0], self.bytes // 2)
        elif seconds < _QUICK_S:
            self.bytes = min(_BYTES[2], self.bytes + (self.bytes >> 3))


@dataclass(slots=True)
class _Outcome:
    """Documents of one answer: how many it settled, and which are to be sent again or buried."""

    conflicts: int = 0
    again: list[int] = field(default_factory=list)
    dead: list[tuple[int, str, str]] = field(default_factory=list)
    reason: str = "no reason given"
    halve: bool = False


class Bulk:
    """One stream of documents to one server. `bury` takes dead letters, from the thread that calls `add` or `flush`."""

    def __init__(self, client: Client, bury: Callable[[list[DeadLetter]], None], clock: Clock = Clock()) -> None:
        self._client, self._bury, self._clock = client, bury, clock
        self._threads = ThreadPoolExecutor(client.target.in_flight, thread_name_prefix="bulk")
        self._sent: list[Future[list[DeadLetter]]] = []
        self._lock = threading.Lock()
        self._size = _Size()
        self._failed = threading.Event()
        self.tallies = Tallies()

    def add(self, documents: Documents) -> None:
        """Sends; waits while `in_flight` requests are on their way. Raises the StoreError of an earlier request."""
        for part in self._parts(documents):
            while len(self._sent) >= self._client.target.in_flight:
                self._settle(self._sent.pop(0))
            self._sent.append(self._threads.submit(self._deliver, part))

    def flush(self) -> None:
        """Returns when the server has every document, or a dead letter was written for it; raises StoreError."""
        while self._sent:
            self._settle(self._sent.pop(0))

    def abandon(self) -> None:
        """Forgets what is on its way, after a failure; a new stream may begin."""
        self._failed.set()
        for sent in self._sent:
            sent.cancel()
            if not sent.cancelled():
                sent.exception()
        self._sent.clear()
        self._failed.clear()

    def close(self) -> None:
        """Ends the threads; what was not flushed may be lost."""
        self.abandon()
        self._threads.shutdown()

    def _settle(self, sent: "Future[list[DeadLetter]]") -> None:
        letters = sent.result()
        if letters:
            self._bury(letters)

    def _parts(self, documents: Documents) -> Iterator[Documents]:
        ends, first = documents.ends, 0
        while first < len(documents):
            last = int(np.searchsorted(ends, ends[first] + self._size.bytes, "right")) - 1
            last = max(last, first + 1)
            yield Documents(documents.index, documents.lines.slice(first, last - first))
            first = last

    def _deliver(self, part: Documents) -> list[DeadLetter]:
        """Until all are settled, or `retry_s` is over."""
        until = self._clock.now() + self._client.target.retry_s
        letters: list[DeadLetter] = []
        todo, attempt = [part], 0
        while todo:
            part = todo.pop()
            outcome = self._attempt(part)
            letters += [DeadLetter(part.index, kind, message, bytes(_one(part, place))) for place, kind, message in outcome.dead]
            self._tally(len(part), outcome)
            if outcome.halve:
                half = len(part) // 2
                todo += [Documents(part.index, part.lines.slice(half)), Documents(part.index, part.lines.slice(0, half))]
            elif outcome.again:
                todo.append(Documents(part.index, part.lines.take(pa.array(outcome.again))))
                self._pause(attempt, until, len(outcome.again), outcome.reason)
                attempt += 1
        return letters

    def _attempt(self, part: Documents) -> _Outcome:
        """What one request, or a second one about its faults, settles; raises StoreError for what no repetition mends."""
        started = self._clock.now()
        try:
            answer = self._send(part, _BRIEF)
            if answer.status < 300 and answer.content.get("errors") and not _only_conflicts(answer):
                answer = self._send(part, _WHOLE)
        except UnreachableError as error:
            self._judge(refused=True, started=started)
            return _Outcome(again=list(range(len(part))), reason=str(error))
        self._judge(refused=answer.status in (_BUSY, _TOO_LARGE), started=started)
        if answer.status < 300:
            return _read(answer)
        if answer.status == _TOO_LARGE:
            alone = [(0, "request_too_large", answer.reason)] if len(part) == 1 else []
            return _Outcome(again=[] if alone else list(range(len(part))), dead=alone, halve=not alone)
        if answer.status == _BUSY or answer.status >= 500:
            return _Outcome(again=list(range(len(part))), reason=answer.reason)
        raise StoreError(f"{self._client.target.place}: bulk to {part.index}: {answer.reason}")

    def _send(self, part: Documents, wanted: str) -> Answer:
        body = part.content[: int(part.ends[-1])]
        with self._lock:
            self.tallies.requests += 1
            self.tallies.bytes += len(body)
        return self._client.send("POST", f"/{part.index}/_bulk?filter_path={wanted}", body, NDJSON)

    def _judge(self, refused: bool, started: float) -> None:
        with self._lock:
            self._size.judge(refused, self._clock.now() - started)

    def _tally(self, count: int, outcome: _Outcome) -> None:
        with self._lock:
            self.tallies.documents += count - len(outcome.again) - len(outcome.dead)
            self.tallies.conflicts += outcome.conflicts
            self.tallies.dead_letters += len(outcome.dead)
            self.tallies.repeats += len(outcome.again)

    def _pause(self, attempt: int, until: float, left: int, reason: str) -> None:
        """Waits longer each time, by chance, so that many clients do not come back at once."""
        pause = min(_PAUSE_S[1], _PAUSE_S[0] * 2**attempt) * (0.5 + self._clock.chance() / 2)
        if self._clock.now() + pause > until or self._failed.is_set():
            raise StoreError(
                f"{self._client.target.place}: {left} documents not taken within {self._client.target.retry_s} s: {reason}"
            )
        self._clock.wait(pause)


def _only_conflicts(answer: Answer) -> bool:
    return all(_item(each).get("error", {}).get("type") == _CONFLICT for each in answer.content.get("items", ()))


def _read(answer: Answer) -> _Outcome:
    """What an answer says of each document; a brief answer has conflicts only."""
    items = answer.content.get("items", ()) if answer.content.get("errors") else ()
    outcome = _Outcome()
    for place, each in enumerate(items):
        item = _item(each)
        error = item.get("error")
        if error is None:
            continue
        status, kind = item.get("status", 409), str(error.get("type"))
        if kind == _CONFLICT:
            outcome.conflicts += 1
        elif status == _BUSY or status >= 500 or kind in _TRANSIENT:
            outcome.again.append(place)
            outcome.reason = f"{kind}: {error.get('reason')}"
        elif status in _DENIED:
            raise StoreError(f"bulk: not allowed: {kind}: {error.get('reason')}")
        else:
            outcome.dead.append((place, kind, str(error.get("reason"))))
    return outcome


def _item(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(operation.values()))
    return found


def _one(part: Documents, place: int) -> memoryview:
    ends = part.ends
    return part.content[int(ends[place]) : int(ends[place + 1])]
