"""A capture as the batches that a live collector would have made of it, at capture time.

In: a capture file. Out: bus entries with their lane, in order, and last a heartbeat in every lane that is far enough ahead to close
all windows. The collector's clock is the capture's clock, so the same file gives the same entries every time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from common.config import Ingest
from common.metrics import Counters
from ingest.batcher import Batch, Batcher, Identity
from ingest.decoder import Datagram, Decoder
from ingest.line import Line
from ingest.listeners.pcap import Capture

HORIZON_MS: Final = 15 * 60_000
_PAST_HORIZON_MS: Final = 120_000
_HEARTBEAT_MS: Final = 30_000  # capture time; a live collector's second would fill a long capture with heartbeats
_FED_AT_ONCE: Final = 512


class Replay:
    """One run over a capture; `counters` and `capture` tell afterwards what was in it."""

    def __init__(self, path: Path, settings: Ingest, lanes: int, collector: str, horizon_ms: int = HORIZON_MS) -> None:
        self.capture = Capture(path)
        self.counters = Counters()
        self._settings = settings
        self._lanes = lanes
        self._collector = collector
        self._horizon_ms = horizon_ms
        self._now_ms = 0

    def batches(self) -> Iterator[Batch]:
        """All batches, data first to last, then the closing heartbeats; raises InputError for what is no capture."""
        line: Line | None = None
        waiting: list[Datagram] = []
        for datagram in self.capture.datagrams():
            if line is None:
                self._now_ms = datagram.received_ms
                line = self._open()
            waiting.append(datagram)
            if datagram.received_ms >= line.due_ms(self._now_ms) or len(waiting) >= _FED_AT_ONCE:
                yield from self._advance(line, waiting)
                waiting = []
        if line is not None:
            yield from self._advance(line, waiting)
            yield from line.finish(self._now_ms)
            yield from line.finish(self._now_ms + self._horizon_ms + _PAST_HORIZON_MS)
        for reason, count in self.capture.problems().items():
            self.counters.add("ingest_problems_total", count, reason=reason)

    def _open(self) -> Line:
        decoder = Decoder(self._settings, self._lanes, self.counters)
        identity = Identity(self._collector, self._now_ms, self._lanes)
        return Line(decoder, Batcher(self._settings, identity, heartbeat_ms=_HEARTBEAT_MS))

    def _advance(self, line: Line, datagrams: list[Datagram]) -> Iterator[Batch]:
        """Feed up to the last datagram; what is older than it by an interval closes at its own time, not at the next arrival."""
        if not datagrams:
            return
        early, last = datagrams[:-1], datagrams[-1]
        yield from line.feed(early, self._now_ms)
        later_ms = max(self._now_ms, last.received_ms)
        due_ms = line.due_ms(self._now_ms)
        if later_ms >= due_ms:
            yield from line.tick(due_ms)
            yield from line.tick(later_ms)
        self._now_ms = later_ms
        yield from line.feed([last], later_ms)


def entries_of_capture(path: Path, settings: Ingest, lanes: int, collector: str) -> Iterator[tuple[int, bytes]]:
    """(lane, FlowBatch) of a capture, in order; raises InputError for what is no capture."""
    for batch in Replay(path, settings, lanes, collector).batches():
        yield batch.lane, batch.value
