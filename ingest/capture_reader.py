"""Watched captures, read by a thread of its own and handed to the decoding thread in bounded portions.

In: complete captures of the folders. Out: portions of datagrams, the file's beginning and end, one file after the other. A file
counts as read once the decoding thread says that the bus has all of it; only then it is remembered, and moved. What is no capture
is told, remembered and left where it is. Refuses to know the decoder and the bus.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from common.clock import Clock
from common.errors import InputError, NephriteError
from common.logs import Limited
from ingest.capture_folders import CaptureFolders, Found
from ingest.capture_journal import CaptureJournal
from ingest.decoder import Datagram
from ingest.listeners.pcap import Capture

_LOOK_S: Final = 0.5
_PORTION: Final = 512
_PORTIONS: Final = 4
_log = logging.getLogger(__name__)
_limited = Limited(_log)


@dataclass(frozen=True, slots=True)
class Begin:
    """A capture begins; its batches have this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Portion:
    """Some datagrams of it, in order."""

    datagrams: list[Datagram]


@dataclass(frozen=True, slots=True)
class End:
    """It ends; `problems` are its frames without a datagram."""

    problems: dict[str, int]


Item = Begin | Portion | End


class CaptureReader:
    """One thread. `totals` (done, damaged, refused, changed, failed) only rise."""

    def __init__(self, folders: CaptureFolders, journal: CaptureJournal, clock: Clock) -> None:
        self._folders = folders
        self._journal = journal
        self._clock = clock
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._snapshot: bytes | None = None
        self._thread = threading.Thread(target=self._run, name="nephrite-captures", daemon=True)
        self.totals: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to look; raises ConfigError when a folder is missing."""
        self._folders.check()
        self._thread.start()

    def stop(self) -> None:
        """End between two portions; what is unfinished is read again, under its epoch, by the next process."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def busy(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._items)

    def take(self) -> Item | None:
        """The next item, None when there is none now."""
        with self._changed:
            if not self._items:
                return None
            self._changed.notify_all()
            return self._items.popleft()

    def settled(self, snapshot: bytes) -> None:
        """Everything up to the last End is on the bus; `snapshot` is the decoder's."""
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopping.is_set():
            faults: list[str] = []
            for found in self._folders.look(self._clock(), faults):
                if self._stopping.is_set():
                    return
                self._read_one(found, faults)
            for fault in faults:
                self.totals["failed"] += 1
                _limited.warning("captures", f"captures: {fault}")
            with self._changed:
                self._changed.wait_for(self._stopping.is_set, _LOOK_S)

    def _read_one(self, found: Found, faults: list[str]) -> None:
        try:
            if found.octets_read:
                self._note_changed(found)
            else:
                self._read(found)
        except NephriteError as error:
            faults.append(str(error))

    def _note_changed(self, found: Found) -> None:
        text = f"it changed after it was read, from {found.octets_read} to {found.octets} octets, which are not read"
        self._journal.finish(found.path, found.head, found.octets, None)
        self.totals["changed"] += 1
        _log.warning("%s: %s: ingest.captures.settle_s is too short for its writer", found.path, text)

    def _read(self, found: Found) -> None:
        capture = Capture(found.path, found.folder.ports)
        portions = _portions(capture.datagrams())
        try:
            begun = next(portions, None)
        except InputError as error:
            self._refuse(found, str(error))
            return
        epoch = self._journal.begin(found.path, found.head, self._clock())
        damage = self._hand_over(epoch, capture, portions if begun is None else chain([begun], portions))
        if damage is None or (snapshot := self._wait_settled()) is None:
            return
        self._journal.finish(found.path, found.head, found.octets, snapshot)
        self.totals["damaged" if damage else "done"] += 1
        if damage:
            _log.warning("%s: taken in up to here: %s", found.path, damage)
            return
        moved = found.put_away()
        _log.info("%s: taken in%s", found.path, f", now {moved}" if moved else "")

    def _refuse(self, found: Found, reason: str) -> None:
        self._journal.finish(found.path, found.head, found.octets, None)
        self.totals["refused"] += 1
        _log.warning("not taken in, and left where it is: %s", reason)

    def _hand_over(self, epoch: int, capture: Capture, portions: Iterator[list[Datagram]]) -> str | None:
        """What is wrong with the capture, empty if nothing is; None when the time to stop came first."""
        if not self._put(Begin(epoch)):
            return None
        damage = ""
        try:
            for portion in portions:
                if not self._put(Portion(portion)):
                    return None
        except InputError as error:
            damage = str(error)
        return (damage or capture.damage) if self._put(End(capture.problems())) else None

    def _put(self, item: Item) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or len(self._items) < _PORTIONS)
            if self._stopping.is_set():
                return False
            self._items.append(item)
            return True

    def _wait_settled(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or self._snapshot is not None)
            snapshot, self._snapshot = self._snapshot, None
            return snapshot


def _portions(datagrams: Iterator[Datagram]) -> Iterator[list[Datagram]]:
    while portion := list(islice(datagrams, _PORTION)):
        yield portion
