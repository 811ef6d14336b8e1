"""Datagrams in, closed batches out: decoder and batcher driven by one clock that is passed in.

The same line serves the live service (wall clock) and captures (capture clock). Decides when pending flows are drained, when
exporters are reported on and when idle state expires, and lets an observer look. Refuses to know sockets, threads and the bus.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import pyarrow as pa

from flowpb.flow_batch_pb2 import ExporterReport
from ingest.batcher import Batch, Batcher
from ingest.decoder import Datagram, Decoder
from ingest.losses import Losses
from ingest.problems import Problem

REPORT_MS: Final = 10_000
_EXPIRE_MS: Final = 1_000

Reports = Mapping[int, Sequence[ExporterReport]]


class Observer(Protocol):
    """Sees what passes; must not keep the line waiting."""

    def faulty(self, datagram: Datagram, problems: Sequence[Problem], flows: int) -> None:
        """Something in this datagram was not decoded; `flows` of it were."""

    def found(self, problems: Sequence[Problem]) -> None:
        """These were found when data was given up, newest first."""

    def drained(self, flows: Mapping[int, pa.RecordBatch]) -> None:
        """These flows go into batches now."""

    def reported(self, reports: Reports, now_ms: int) -> None:
        """These reports go into batches now."""


class _Blind:
    def faulty(self, datagram: Datagram, problems: Sequence[Problem], flows: int) -> None:
        """Not looked at."""

    def found(self, problems: Sequence[Problem]) -> None:
        """Not looked at."""

    def drained(self, flows: Mapping[int, pa.RecordBatch]) -> None:
        """Not looked at."""

    def reported(self, reports: Reports, now_ms: int) -> None:
        """Not looked at."""


class Line:
    """One decoder and one batcher. Not thread-safe. A clock that is set back delays nothing for longer than one period.

    `losses` takes what was dropped before it came here; it goes out with the next reports.
    """

    def __init__(self, decoder: Decoder, batcher: Batcher, observer: Observer | None = None, report_ms: int = REPORT_MS) -> None:
        self._decoder = decoder
        self._batcher = batcher
        self._observer = observer or _Blind()
        self._report_ms = report_ms
        self.losses = Losses()
        self._last_problem: Problem | None = None
        self._reported_ms: int | None = None
        self._expired_ms: int | None = None

    def begin(self) -> None:
        """Start the periods of reports and expiry anew, as with the first datagram of a process."""
        self._reported_ms = self._expired_ms = None

    def due_ms(self, now_ms: int) -> int:
        """When `tick` has something to do."""
        return self._batcher.due_ms(now_ms)

    def feed(self, datagrams: Sequence[Datagram], now_ms: int) -> list[Batch]:
        """Decode; the batches that this filled."""
        decoder = self._decoder
        decoder.feed_many(datagrams, self._watch)
        if self._batcher.is_full(decoder.pending_flows, decoder.pending_bytes):
            return self._batcher.close(now_ms, self._drain(), {})
        return []

    def end_session(self, exporter: bytes, session: int) -> None:
        """Forget the templates of a connection that has ended."""
        self._decoder.close_session(exporter, session)

    def tick(self, now_ms: int) -> list[Batch]:
        """The batches that are old enough at `now_ms`, with reports and heartbeats when it is their time."""
        if now_ms < self._batcher.due_ms(now_ms):
            return []
        if _passed(self._expired_ms, now_ms, _EXPIRE_MS):
            self._decoder.expire(now_ms)
            self._expired_ms = now_ms
        flows = self._drain()
        return self._batcher.close(now_ms, flows, self._reports(now_ms))

    def finish(self, now_ms: int) -> list[Batch]:
        """What is left, and the last reports."""
        self._decoder.expire(now_ms)
        flows = self._drain()
        return self._batcher.close(now_ms, flows, self._report(now_ms))

    def _watch(self, datagram: Datagram, flows: int) -> None:
        if problems := self._new_problems():
            self._observer.faulty(datagram, problems, flows)

    def _new_problems(self) -> list[Problem]:
        problems = self._decoder.problems_after(self._last_problem)
        if problems:
            self._last_problem = problems[0]
        return problems

    def _drain(self) -> dict[int, pa.RecordBatch]:
        flows = self._decoder.drain(self._watch)
        if problems := self._new_problems():
            self._observer.found(problems)
        self._observer.drained(flows)
        return flows

    def _reports(self, now_ms: int) -> Reports:
        if self._reported_ms is None:
            self._reported_ms = now_ms
        if not _passed(self._reported_ms, now_ms, self._report_ms):
            return {}
        self._reported_ms = now_ms
        return self._report(now_ms)

    def _report(self, now_ms: int) -> Reports:
        reports = self._decoder.reports(now_ms)
        self.losses.settle(reports)
        self._observer.reported(reports, now_ms)
        return reports


def _passed(then_ms: int | None, now_ms: int, period_ms: int) -> bool:
    return then_ms is None or not 0 <= now_ms - then_ms < period_ms
