"""Watched captures through a decoder of their own onto the bus, as one more collector: COLLECTOR/captures.

In: what the reading thread hands over, one portion per turn of the decoding thread. Out: batches. The decoder's clock is that of
the capture, the marks of its batches are those of the time of reading, so that windows neither wait for captures nor close by them:
flows within the horizon count as live ones, older ones as late. The same file gives the same batches under the same identity, so
what was sent before a crash is dropped by readers as a repeat; only data that waited for its template then is lost. Between
captures the collector sends heartbeats, or its last mark would hold the others up.
"""

from dataclasses import replace
from pathlib import Path

from common.clock import Clock
from common.config import Settings
from common.errors import InputError
from common.metrics import Counters
from ingest.batcher import HEARTBEAT_MS as LIVE_HEARTBEAT_MS
from ingest.batcher import Batcher, Identity
from ingest.capture_folders import CaptureFolders
from ingest.capture_journal import FILE, CaptureJournal
from ingest.capture_reader import Begin, CaptureReader, End, Portion
from ingest.choices import Choices
from ingest.decoder import Decoder
from ingest.exporter_rules import ExporterRules, identify_by
from ingest.line import Line
from ingest.listeners.sources import Identify
from ingest.observation import Observation
from ingest.outbox import Outbox
from ingest.pace import HEARTBEAT_MS, Pace


class CaptureLine:
    """Its `turn` belongs to the decoding thread. Raises ConfigError when what is remembered of captures is damaged."""

    def __init__(self, settings: Settings, collector: str, counters: Counters, clock: Clock, observation: Observation) -> None:
        ingest, lanes = settings.ingest, settings.bus.lanes
        self._clock = clock
        self._counters = counters
        self._journal = CaptureJournal(Path(settings.data_dir) / FILE)
        self.reader = CaptureReader(CaptureFolders(ingest.captures, self._journal), self._journal, clock)
        self.decoder = Decoder(ingest, lanes, counters)
        identity = Identity(f"{collector}/captures", self._journal.epoch, lanes)
        self._batcher = Batcher(ingest, identity, mark_of=lambda _: clock())
        self._line = Line(self.decoder, self._batcher, observation)
        self._identify = identify_by(ingest, self._batcher.rules)
        self._pace = Pace(lambda _: self._line)
        self._reading = False
        self._last_batch: int | None = None
        self._beaten_ms: int | None = None

    def start(self) -> None:
        """Bring the templates of earlier captures into force and begin; raises ConfigError."""
        if self._journal.snapshot:
            try:
                self.decoder.restore(self._journal.snapshot)
            except InputError:
                self._counters.add("ingest_state_errors_total")
        if self._journal.epoch and not self._journal.unfinished:
            self._pause()
        self.reader.start()

    def reconsider(self, choices: Choices, rules: ExporterRules, identify: Identify) -> None:
        """Other settings of exporters, from now on."""
        self.decoder.reconsider(choices)
        self._batcher.rules, self._identify = rules, identify

    @property
    def busy(self) -> bool:
        """Whether another turn has something to do."""
        return self.reader.busy

    def turn(self, outbox: Outbox) -> None:
        """One portion, or a heartbeat when it is time for one."""
        if self._last_batch is not None and outbox.batches >= self._last_batch:
            self._last_batch = None
            self._pause()  # first: the next capture's epoch has to be larger
            self.reader.settled(self.decoder.snapshot())
        item = self.reader.take()
        if isinstance(item, Begin):
            self._begin(item.epoch)
        elif isinstance(item, Portion):
            self._feed(item, outbox)
        elif isinstance(item, End):
            self._end(item, outbox)
        elif not self._reading:
            self._beat(outbox)

    def _begin(self, epoch: int) -> None:
        self._batcher.begin(epoch, HEARTBEAT_MS)
        self._line.begin()
        self._pace = Pace(lambda _: self._line)
        self._reading, self._beaten_ms = True, None

    def _feed(self, portion: Portion, outbox: Outbox) -> None:
        for datagram in portion.datagrams:
            exporter = self._identify(datagram.exporter)
            if exporter is None:
                self._counters.add("ingest_datagrams_dropped_total", reason="source_refused")
            else:
                outbox.put(list(self._pace.take(replace(datagram, exporter=exporter))))

    def _end(self, end: End, outbox: Outbox) -> None:
        outbox.put(list(self._pace.end()))
        for reason, count in end.problems.items():
            self._counters.add("ingest_problems_total", count, reason=reason)
        self._last_batch = outbox.given

    def _pause(self) -> None:
        """From here on heartbeats, under an epoch of their own."""
        self._batcher.begin(self._journal.pause(self._clock()))
        self._reading, self._beaten_ms = False, self._clock()

    def _beat(self, outbox: Outbox) -> None:
        now_ms = self._clock()
        if self._beaten_ms is not None and not 0 <= now_ms - self._beaten_ms < LIVE_HEARTBEAT_MS:
            self._beaten_ms = now_ms
            outbox.put(self._batcher.close(now_ms, {}, {}))
