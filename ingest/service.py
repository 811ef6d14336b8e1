"""The ingest service: listeners -> decoder -> batcher -> bus, with its threads, its state file and its end.

In: settings and a producer. Out: batches on the bus. Three threads: one copies datagrams from the sockets, one decodes and
closes batches, one gives them to the bus. Each hand-over is bounded; whatever does not fit is counted where it is dropped.
"""

import logging
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.contract import Producer
from common.clock import Clock, wall_clock
from common.config import Ingest, Settings
from common.errors import ConfigError, InputError
from common.metrics import Counters
from ingest.batcher import Batcher, Identity
from ingest.chunks import Chunk, ChunkQueue
from ingest.decoder import Datagram, Decoder
from ingest.exporter_rules import ExporterRules
from ingest.line import Line
from ingest.listeners.receivers import Endpoint, Receivers
from ingest.listeners.sources import Identify, admit_networks
from ingest.outbox import Outbox
from ingest.state import SavedState, load_state, next_epoch, save_state
from ingest.tallies import Tallies

_SAVE_MS: Final = 60_000
_TAKE_BYTES: Final = 128 << 10
_TAKE_S: Final = 0.05
STOP_S: Final = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """A look at the running service: what waits where, and why it may not move on."""

    collector: str
    epoch: int
    endpoints: tuple[Endpoint, ...]
    received: int
    socket_drops: int
    queue_drops: int
    refused: int
    queue_bytes: int
    waiting_batches: int
    bus_error: str


class IngestService:
    """One collector. `start` raises ConfigError and leaves nothing behind; `stop` flushes. The producer stays the caller's."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock = wall_clock) -> None:
        ingest, lanes = settings.ingest, settings.bus.lanes
        self._clock = clock
        self.counters = Counters()
        self._state_path = Path(settings.data_dir) / ingest.state_file
        saved = self._load()
        self._decoder = self._restored(Decoder(ingest, lanes, self.counters), saved) or Decoder(ingest, lanes, self.counters)
        self._identity = Identity(ingest.collector or socket.gethostname(), next_epoch(saved.epoch, clock()), lanes)
        self._batcher = Batcher(ingest, self._identity)
        self._line = Line(self._decoder, self._batcher)
        self._queue = ChunkQueue(ingest.queue_bytes)
        self._receivers = Receivers(ingest.listeners, self._queue, clock, identify_by(ingest, self._batcher.rules))
        self._outbox = Outbox(producer, ingest.outbox_bytes)
        self._tallies = Tallies(self.counters, self._receivers, self._outbox)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._saved_ms = clock()
        self._thread = threading.Thread(target=self._run, name="nephrite-decode", daemon=True)

    def start(self) -> None:
        """Open the sockets and begin; raises ConfigError when a socket or the state file cannot be had."""
        self._receivers.open()
        try:
            self._save()  # the epoch must be on disk before a batch carries it
        except ConfigError:
            self._receivers.close()
            raise
        self._outbox.start()
        self._thread.start()
        self._receivers.start()

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each listener, in the order of the settings."""
        return tuple((endpoint.host, endpoint.port) for endpoint in self.endpoints)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where it listens, in the order of the settings."""
        return self._receivers.endpoints

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the service ended by itself (True) or the time is up; raises what ended it."""
        ended = self._ended.wait(timeout_s)
        if self._failure is not None:
            raise self._failure
        return ended

    def stop(self) -> None:
        """Take what the sockets hold, decode it, give everything to the bus, save the state; raises what ended the service."""
        self._receivers.stop()
        self._stopping.set()
        self._queue.wake()
        self._thread.join()
        lost = self._outbox.stop(STOP_S)
        self._tallies.collect(self._line.losses)
        self.counters.add("ingest_batches_lost_total", lost)
        if lost:
            _log.error("%d batches were not taken by the bus and are lost: %s", lost, self._outbox.last_error)
        if self._failure is not None:
            raise self._failure

    def status(self) -> IngestStatus:
        """What can be told without stopping anything."""
        return IngestStatus(
            self._identity.collector,
            self._identity.epoch,
            self.endpoints,
            self._receivers.received,
            self._receivers.socket_drops,
            self._receivers.queue_drops,
            self._receivers.refused,
            self._queue.octets,
            self._outbox.waiting,
            self._outbox.last_error,
        )

    def _load(self) -> SavedState:
        try:
            return load_state(self._state_path)
        except InputError as error:
            self._forget(error)
            return SavedState()

    def _restored(self, decoder: Decoder, saved: SavedState) -> Decoder | None:
        try:
            decoder.restore(saved.snapshot) if saved.snapshot else None
        except InputError as error:
            self._forget(error)
            return None
        return decoder

    def _forget(self, error: InputError) -> None:
        self.counters.add("ingest_state_errors_total")
        _log.warning("starting without saved templates: %s", error)

    def _save(self) -> None:
        save_state(self._state_path, SavedState(self._identity.epoch, self._decoder.snapshot()))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
            for chunk in self._queue.take(0):
                self._decode(chunk)
            self._tallies.collect(self._line.losses)
            self._outbox.put(self._line.finish(self._clock()))
            self._save()
        except BaseException as error:  # noqa: BLE001 - whatever it is, wait() and stop() raise it in the caller's thread
            self._failure = error
        finally:
            self._ended.set()

    def _step(self) -> None:
        """One turn: decode what has come, close what is due; take nothing while the bus is behind."""
        now_ms = self._clock()
        timeout_s = min(_TAKE_S, max(0, self._line.due_ms(now_ms) - now_ms) / 1000)
        for chunk in self._queue.take(timeout_s, _TAKE_BYTES):
            self._decode(chunk)
        self._tallies.collect(self._line.losses)
        self._outbox.put(self._line.tick(self._clock()))
        self._save_when_due()
        while self._outbox.full and not self._stopping.is_set():
            self._outbox.wait_for_room(_TAKE_S)

    def _decode(self, chunk: Chunk) -> None:
        self._outbox.put(self._line.feed(_datagrams(chunk), self._clock()))
        if chunk.ended:
            self._line.end_session(chunk.exporters[0], chunk.session)

    def _save_when_due(self) -> None:
        now_ms = self._clock()
        if 0 <= now_ms - self._saved_ms < _SAVE_MS:
            return
        self._saved_ms = now_ms
        try:
            self._save()
        except ConfigError as error:
            self.counters.add("ingest_state_errors_total")
            _log.warning("%s", error)


def identify_by(settings: Ingest, rules: ExporterRules) -> Identify:
    """The exporter of a source by the settings, None where its network is not allowed."""
    admit = admit_networks(settings.allowed_networks)
    return lambda source: rules.identity_of(source) if admit(source) else None


def _datagrams(chunk: Chunk) -> list[Datagram]:
    received_ms, session = chunk.received_ms, chunk.session
    pairs = zip(chunk.exporters, chunk.payloads, strict=not chunk.ended)
    return [Datagram(exporter, received_ms, payload, session) for exporter, payload in pairs]
