"""Datagrams in, closed batches out: decoder and batcher driven by one clock that is passed in.

The same line serves the live service (wall clock) and captures (capture clock). Decides when pending flows are drained, when
exporters are reported on and when idle state expires. Refuses to know sockets, threads and the bus.
"""

from collections.abc import Sequence
from typing import Final

from flowpb.flow_batch_pb2 import ExporterReport
from ingest.batcher import Batch, Batcher
from ingest.decoder import Datagram, Decoder
from ingest.losses import Losses

REPORT_MS: Final = 10_000
_EXPIRE_MS: Final = 1_000


class Line:
    """One decoder and one batcher. Not thread-safe. A clock that is set back delays nothing for longer than one period.

    `losses` takes what was dropped before it came here; it goes out with the next reports.
    """

    def __init__(self, decoder: Decoder, batcher: Batcher, report_ms: int = REPORT_MS) -> None:
        self._decoder = decoder
        self._batcher = batcher
        self._report_ms = report_ms
        self.losses = Losses()
        self._reported_ms: int | None = None
        self._expired_ms: int | None = None

    def due_ms(self, now_ms: int) -> int:
        """When `tick` has something to do."""
        return self._batcher.due_ms(now_ms)

    def feed(self, datagrams: Sequence[Datagram], now_ms: int) -> list[Batch]:
        """Decode; the batches that this filled."""
        self._decoder.feed_many(datagrams)
        if self._batcher.is_full(self._decoder.pending_flows, self._decoder.pending_bytes):
            return self._batcher.close(now_ms, self._decoder.drain(), {})
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
        return self._batcher.close(now_ms, self._decoder.drain(), self._reports(now_ms))

    def finish(self, now_ms: int) -> list[Batch]:
        """What is left, and the last reports."""
        self._decoder.expire(now_ms)
        return self._batcher.close(now_ms, self._decoder.drain(), self._report(now_ms))

    def _reports(self, now_ms: int) -> dict[int, list[ExporterReport]]:
        if self._reported_ms is None:
            self._reported_ms = now_ms
        if not _passed(self._reported_ms, now_ms, self._report_ms):
            return {}
        self._reported_ms = now_ms
        return self._report(now_ms)

    def _report(self, now_ms: int) -> dict[int, list[ExporterReport]]:
        reports = self._decoder.reports(now_ms)
        self.losses.settle(reports)
        return reports


def _passed(then_ms: int | None, now_ms: int, period_ms: int) -> bool:
    return then_ms is None or not 0 <= now_ms - then_ms < period_ms
