"""A capture as the batches that a live collector would have made of it, at capture time.

In: a capture file. Out: bus entries with their lane, in order, and last a heartbeat in every lane that is far enough ahead to close
all windows. The collector's clock is the capture's clock, so the same file gives the same entries every time.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from common.config import Ingest
from common.metrics import Counters
from ingest.batcher import Batch, Batcher, Identity
from ingest.decoder import Decoder
from ingest.exporter_rules import ExporterRules, identify_by
from ingest.line import Line
from ingest.listeners.pcap import Capture
from ingest.pace import HEARTBEAT_MS, Pace

HORIZON_MS: Final = 15 * 60_000
_PAST_HORIZON_MS: Final = 120_000


class Replay:
    """One run over a capture; `counters` and `capture` tell afterwards what was in it."""

    def __init__(self, path: Path, settings: Ingest, lanes: int, collector: str, horizon_ms: int = HORIZON_MS) -> None:
        self.capture = Capture(path)
        self.counters = Counters()
        self._settings = settings
        self._lanes = lanes
        self._collector = collector
        self._horizon_ms = horizon_ms

    def batches(self) -> Iterator[Batch]:
        """All batches, data first to last, then the closing heartbeats; raises InputError for what is no capture."""
        pace, identify = Pace(self._open), identify_by(self._settings, ExporterRules(self._settings))
        for datagram in self.capture.datagrams():
            exporter = identify(datagram.exporter)
            if exporter is None:
                self.counters.add("ingest_datagrams_dropped_total", reason="source_refused")
            else:
                yield from pace.take(datagram if exporter == datagram.exporter else replace(datagram, exporter=exporter))
        yield from pace.end()
        if pace.line is not None:
            yield from pace.line.finish(pace.now_ms + self._horizon_ms + _PAST_HORIZON_MS)
        for reason, count in self.capture.problems().items():
            self.counters.add("ingest_problems_total", count, reason=reason)

    def _open(self, now_ms: int) -> Line:
        decoder = Decoder(self._settings, self._lanes, self.counters)
        return Line(decoder, Batcher(self._settings, Identity(self._collector, now_ms, self._lanes), heartbeat_ms=HEARTBEAT_MS))


def entries_of_capture(path: Path, settings: Ingest, lanes: int, collector: str) -> Iterator[tuple[int, bytes]]:
    """(lane, FlowBatch) of a capture, in order; raises InputError for what is no capture."""
    for batch in Replay(path, settings, lanes, collector).batches():
        yield batch.lane, batch.value
