"""Templates, samplers and options tables shared between collectors, so that a second or restarted one decodes at once.

In: this collector's snapshots. Out: those of all collectors, exporter by exporter, from a shared folder or a compacted Kafka topic.
What is shared fills absence, at the start and where data waits; what this collector has learnt itself goes before it. Only
exporters whose templates or tables changed are written again. Nothing here stops the service: failures are counted and tried again.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from bus.open import parse_url
from common.config import Settings
from common.errors import BusError, ConfigError
from common.logs import Limited
from ingest.snapshots import split

_KAFKA: Final = "kafka:"
_SUFFIX: Final = "templates"
_log = Limited(logging.getLogger(__name__))


class Table(Protocol):
    """Snapshots of single exporters under (collector, exporter)."""

    def read(self) -> list[bytes]:
        """All snapshots, those written last at the end; raises BusError."""

    def write(self, collector: str, snapshots: Mapping[bytes, bytes]) -> None:
        """Put snapshots by exporter; raises BusError."""


class FolderTable:
    """One file per collector and exporter below a folder that all collectors see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> list[bytes]:
        """Files in the order of their times."""
        try:
            files = sorted((path.stat().st_mtime_ns, path) for path in self._folder.glob(f"*.{_SUFFIX}"))
            return [path.read_bytes() for _, path in files]
        except OSError as error:
            raise BusError(f"{self._folder}: shared templates cannot be read: {error.strerror}") from error

    def write(self, collector: str, snapshots: Mapping[bytes, bytes]) -> None:
        """Each file appears whole or not at all."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for exporter, snapshot in snapshots.items():
                path = self._folder / f"{quote(collector, safe='')}-{exporter.hex()}.{_SUFFIX}"
                beside = path.with_suffix(f".new{os.getpid()}")
                beside.write_bytes(snapshot)
                beside.replace(path)
        except OSError as error:
            raise BusError(f"{self._folder}: templates cannot be shared: {error.strerror}") from error


class KafkaTable:
    """A compacted topic beside the bus's."""

    def __init__(self, settings: Settings) -> None:
        from bus.compacted import beside
        from bus.kafka_client import KafkaTarget

        target = parse_url(settings.bus.url, Path(settings.data_dir))
        if not isinstance(target, KafkaTarget):
            raise ConfigError(["ingest.share_templates: kafka: needs a Kafka bus"])
        self._target = beside(target, _SUFFIX)

    def read(self) -> list[bytes]:
        """All entries of the topic."""
        from bus.compacted import read_table

        return list(read_table(self._target).values())

    def write(self, collector: str, snapshots: Mapping[bytes, bytes]) -> None:
        """One entry per exporter."""
        from bus.compacted import write_table

        write_table(self._target, {collector.encode() + b"/" + exporter: snapshot for exporter, snapshot in snapshots.items()})


def open_table(settings: Settings) -> Table | None:
    """The table that the settings name, or None; raises ConfigError."""
    place = settings.ingest.share_templates
    if not place:
        return None
    return KafkaTable(settings) if place == _KAFKA else FolderTable(Path(place))


class Sharer:
    """Writes what changed, by a thread of its own; only the newest snapshot waits. `errors` only rises."""

    def __init__(self, table: Table, collector: str) -> None:
        self._table = table
        self._collector = collector
        self._written: dict[bytes, bytes] = {}
        self._waiting: bytes | None = None
        self._wanted = False
        self._fetched: list[bytes] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="nephrite-share", daemon=True)
        self.errors = 0

    def fetch(self) -> list[bytes]:
        """What is shared now; nothing when it cannot be had."""
        try:
            return self._table.read()
        except BusError as error:
            self._note(error)
            return []

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, snapshot: bytes, wanted: bool = False) -> None:
        """Let a snapshot be shared soon; `wanted` asks for those of the others, too."""
        with self._changed:
            self._waiting = snapshot
            self._wanted = self._wanted or wanted
            self._changed.notify()

    def fetched(self) -> list[bytes]:
        """What was asked for and has come, once."""
        with self._changed:
            found, self._fetched = self._fetched, []
        return found

    def stop(self) -> None:
        """Write what waits, once."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
                snapshot, self._waiting = self._waiting, None
                wanted, self._wanted = self._wanted, False
            if snapshot is None:
                return
            self._write(snapshot)
            if wanted:
                found = self.fetch()
                with self._changed:
                    self._fetched = found

    def _write(self, snapshot: bytes) -> None:
        parts = split(snapshot)
        marks = {exporter: hashlib.blake2b(lasting, digest_size=16).digest() for exporter, (_, lasting) in parts.items()}
        changed = {exporter: parts[exporter][0] for exporter, mark in marks.items() if self._written.get(exporter) != mark}
        if not changed:
            return
        try:
            self._table.write(self._collector, changed)
        except BusError as error:
            self._note(error)
            return
        self._written = marks

    def _note(self, error: BusError) -> None:
        self.errors += 1
        _log.warning("sharing", f"templates are not shared: {error}")
