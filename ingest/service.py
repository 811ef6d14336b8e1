"""The ingest service: listeners -> decoder -> batcher -> bus, with its threads and its end.

In: settings and a producer. Out: batches on the bus. One thread copies datagrams from the sockets, one decodes and closes batches,
one gives them to the bus (and one serves TCP, where configured). Each hand-over is bounded; whatever does not fit is counted where
it is dropped.
"""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.contract import Producer
from common.clock import Clock, wall_clock
from common.config import Ingest, Settings
from common.errors import NephriteError
from common.metrics import Counters
from ingest.batcher import Batcher, Identity
from ingest.board import ExporterBoard, ExporterRow, InterfaceRow
from ingest.capture_line import CaptureLine
from ingest.choices import Choices
from ingest.chunks import Chunk, ChunkQueue
from ingest.dead_letters import Letterbox
from ingest.decoder import Datagram, Decoder
from ingest.desk import Row, TablesDesk
from ingest.exporter_rules import ExporterRules, identify_by
from ingest.interop import FlowDocumentSender
from ingest.keeper import StateKeeper
from ingest.letter_places import letters_of
from ingest.line import Line
from ingest.listeners.receivers import Endpoint, Receivers
from ingest.observation import Observation, Tap
from ingest.outbox import Outbox
from ingest.sharing import Sharer, open_table
from ingest.tallies import Tallies

_TAKE_BYTES: Final = 128 << 10
_TAKE_MOST: Final = 1 << 20
"""At one turn, so that what a full outbox stops is in the queue, within its bound, and not in batches beyond the outbox's."""
_TAKE_S: Final = 0.05
STOP_S: Final = 15.0
_RELOADABLE: Final = frozenset({"location", "allowed_networks", "exporter_settings"})
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
    running: bool
    held_up: bool


class IngestService:
    """One collector. `start` raises ConfigError and leaves nothing behind; `stop` flushes. The producer stays the caller's."""

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        clock: Clock = wall_clock,
        tap: Tap | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        ingest, lanes = settings.ingest, settings.bus.lanes
        self._settings = settings
        self._clock = clock
        self._inherited = inherited
        self.counters = Counters()
        state_path = Path(settings.data_dir) / ingest.state_file
        table = open_table(settings)
        self._sharer = Sharer(table, collector_name(ingest)) if table else None
        self._keeper = StateKeeper(state_path, lambda: Decoder(ingest, lanes, self.counters), clock(), self._sharer)
        self._identity = Identity(collector_name(ingest), self._keeper.epoch, lanes)
        self._batcher = Batcher(ingest, self._identity)
        self._board = ExporterBoard()
        self._interop = FlowDocumentSender(settings) if ingest.flow_documents else None
        taps = [each for each in (tap, self._interop) if each is not None]
        self._observation = Observation(self._board, None, taps, lambda flows: self._batcher.rules.apply(flows))
        self._line = Line(self._keeper.decoder, self._batcher, self._observation)
        self._captures = (
            CaptureLine(settings, self._identity.collector, self.counters, clock, self._observation) if ingest.captures else None
        )
        self._queue = ChunkQueue(ingest.queue_bytes)
        self._receivers = Receivers(ingest.listeners, self._queue, clock, identify_by(ingest, self._batcher.rules))
        self._outbox = Outbox(producer, ingest.outbox_bytes)
        self._letters = letters_of(settings)
        self.tables = TablesDesk()
        self._answers = {
            "names": self._table(Decoder.names),
            "samplers": self._table(Decoder.samplers),
            "templates": self._table(Decoder.templates),
        }
        self._reloads: Counter[str] = Counter()
        self._tallies = self._watched()
        self._kernel_drops = 0
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="nephrite-decode", daemon=True)

    def start(self) -> None:
        """Open the sockets and begin; raises ConfigError or BusError when a socket or a file cannot be had."""
        ingest = self._settings.ingest
        self._receivers.open(self._inherited)
        try:
            self._keeper.lock()
            self._keeper.save()  # the epoch must be on disk before a batch carries it
            if ingest.dead_letters_bytes:
                self._observation.letters = self._letters.open()
            if self._captures is not None:
                self._captures.start()
        except NephriteError:
            self._receivers.close()
            self._keeper.unlock()
            raise
        self._outbox.start()
        for companion in (self._sharer, self._interop):
            if companion is not None:
                companion.start()
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
        if self._captures is not None:
            self._captures.reader.stop()
        self._stopping.set()
        self._queue.wake()
        self._thread.join()
        lost = self._outbox.stop(STOP_S)
        for companion in (self._sharer, self._interop):
            if companion is not None:
                companion.stop()
        if self._observation.letters is not None:
            self._observation.letters.close()
        self._tallies.collect()
        self.counters.add("ingest_batches_lost_total", lost)
        self._keeper.unlock()
        if lost:
            _log.error("%d batches were not taken by the bus and are lost: %s", lost, self._outbox.last_error)
        if self._failure is not None:
            raise self._failure

    def reload(self, settings: Settings) -> list[str]:
        """Bring location, exporter settings and allowed networks into force; names the changed settings that need a restart.

        Raises ConfigError, and changes nothing then.
        """
        old, new = self._settings.ingest, settings.ingest
        choices = Choices(new)
        rules = ExporterRules(new, self._batcher.rules)
        self._keeper.decoder.reconsider(choices)
        self._batcher.rules = rules
        identify = identify_by(new, rules)
        self._receivers.replace_identify(identify)
        if self._captures is not None:
            self._captures.reconsider(choices, rules, identify)
        kept = {name: getattr(new, name) for name in _RELOADABLE}
        self._settings = self._settings.model_copy(update={"ingest": old.model_copy(update=kept)})
        self._reloads["done"] += 1
        fields = [name for name in type(new).model_fields if name not in _RELOADABLE]
        return [f"ingest.{name}" for name in fields if getattr(old, name) != getattr(new, name)]

    def refuse_reload(self) -> None:
        """Count a configuration that could not be used."""
        self._reloads["refused"] += 1

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
            self._thread.is_alive() and self._receivers.alive and not self._stopping.is_set(),
            self._outbox.full,
        )

    def exporters(self) -> list[ExporterRow]:
        """Every exporter that was heard of, and sources that are not taken."""
        return self._board.rows(self._batcher.rules, self._clock(), self._receivers.refused_sources)

    def interfaces(self) -> list[InterfaceRow]:
        """Every interface whose sFlow agent sends its counters."""
        return self._board.interfaces(self._batcher.rules)

    def gauges(self) -> dict[str, float]:
        """Values of the metrics that go up and down."""
        return {
            "ingest_exporters": self._board.active(),
            "ingest_queue_bytes": self._queue.octets,
            "ingest_waiting_batches": self._outbox.waiting,
        }

    def _watched(self) -> Tallies:
        tallies, receivers, outbox = Tallies(self.counters), self._receivers, self._outbox
        tallies.watch("ingest_socket_drops_total", lambda: receivers.socket_drops)
        tallies.watch("ingest_socket_errors_total", lambda: receivers.errors)
        tallies.watch("ingest_datagrams_dropped_total", lambda: receivers.queue_drops, "reason", "queue_full")
        tallies.watch("ingest_datagrams_dropped_total", lambda: receivers.refused, "reason", "source_refused")
        tallies.watch_family("ingest_connections_total", "reason", lambda: receivers.endings)
        tallies.watch("ingest_batches_total", lambda: outbox.batches)
        tallies.watch("ingest_batch_bytes_total", lambda: outbox.octets)
        tallies.watch("ingest_bus_errors_total", lambda: outbox.errors)
        tallies.watch("ingest_batches_lost_total", lambda: outbox.refused)
        tallies.watch("ingest_state_errors_total", lambda: self._keeper.errors)
        tallies.watch("ingest_sharing_errors_total", lambda: self._sharer.errors if self._sharer else 0)
        tallies.watch_family("ingest_flow_documents_total", "result", lambda: self._interop.totals if self._interop else {})
        tallies.watch_family("ingest_captures_total", "result", lambda: self._captures.reader.totals if self._captures else {})
        tallies.watch_family("ingest_reloads_total", "result", lambda: self._reloads)
        tallies.watch_family("ingest_dead_letters_total", "result", lambda: letter_totals(self._observation.letters))
        return tallies

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
            for chunk in self._queue.take(0):
                self._decode(chunk)
            self._collect()
            self._outbox.put(self._line.finish(self._clock()))
            self._keeper.save()
        except BaseException as error:  # noqa: BLE001 - whatever it is, wait() and stop() raise it in the caller's thread
            self._failure = error
        finally:
            self._ended.set()

    def _step(self) -> None:
        """One turn: decode what has come, close what is due; take nothing while the bus is behind."""
        now_ms = self._clock()
        waiting = self._captures is not None and self._captures.busy
        timeout_s = 0 if waiting else min(_TAKE_S, max(0, self._line.due_ms(now_ms) - now_ms) / 1000)
        for chunk in self._queue.take(timeout_s, _TAKE_BYTES, _TAKE_MOST):
            self._decode(chunk)
        self._collect()
        self.tables.answer(self._answers)
        self._outbox.put(self._line.tick(self._clock()))
        if self._captures is not None:
            self._captures.turn(self._outbox)
        self._keeper.save_when_due(self._clock())
        while self._outbox.full and not self._stopping.is_set():
            self._outbox.wait_for_room(_TAKE_S)
            self._collect()
            self.tables.answer(self._answers)

    def _table(self, rows: Callable[[Decoder], Sequence[Row]]) -> Callable[[], Sequence[Row]]:
        """Rows of the decoders of live traffic and of captures."""
        return lambda: [
            row
            for decoder in (self._keeper.decoder, *([self._captures.decoder] if self._captures else ()))
            for row in rows(decoder)
        ]

    def _decode(self, chunk: Chunk) -> None:
        self._outbox.put(self._line.feed(_datagrams(chunk), self._clock()))
        if chunk.ended:
            self._line.end_session(chunk.exporters[0], chunk.session)

    def _collect(self) -> None:
        self._tallies.collect()
        losses, dropped = self._line.losses, self._receivers.socket_drops
        losses.unknown += dropped - self._kernel_drops
        self._kernel_drops = dropped
        losses.known.update(self._receivers.taken_drops())


def collector_name(settings: Ingest) -> str:
    """Name of this collector in batch identities."""
    return settings.collector or socket.gethostname()


def letter_totals(letters: Letterbox | None) -> dict[str, int]:
    """Dead letters by what became of them."""
    return {} if letters is None else {"kept": letters.kept, "failed": letters.failed}


def _datagrams(chunk: Chunk) -> list[Datagram]:
    received_ms, session = chunk.received_ms, chunk.session
    pairs = zip(chunk.exporters, chunk.payloads, strict=not chunk.ended)
    return [Datagram(exporter, received_ms, payload, session) for exporter, payload in pairs]
