"""The decoder's state over restarts: restored when the service is made, saved every minute and at its end.

In: the state file and a decoder. Out: a decoder that knows its templates, and an epoch larger than any before. A damaged file costs
the templates, never the start; a file that cannot be written stops the start, and later is counted.
"""

import fcntl
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from common.errors import ConfigError, InputError
from ingest.decoder import Decoder
from ingest.sharing import Sharer
from ingest.state import SavedState, load_state, next_epoch, save_state

_SAVE_MS: Final = 60_000
_SHARE_MS: Final = 10_000
_log = logging.getLogger(__name__)


class StateKeeper:
    """Owns the state file of one collector. `errors` only rises. `sharer` may be missing."""

    def __init__(self, path: Path, make_decoder: Callable[[], Decoder], now_ms: int, sharer: Sharer | None = None) -> None:
        self._path = path
        self._sharer = sharer
        self._lock: TextIO | None = None
        self.errors = 0
        saved = self._load()
        shared = sharer.fetch() if sharer else []
        self.decoder = self._restored(shared, saved.snapshot, make_decoder)
        self.epoch = next_epoch(saved.epoch, now_ms)
        self._saved_ms = self._shared_ms = now_ms

    def lock(self) -> None:
        """Make sure that no other process is this collector; raises ConfigError."""
        place = self._path.with_name(self._path.name + ".lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._lock = place.open("w")
        except OSError as error:
            raise ConfigError([f"ingest.state_file: {place} cannot be written: {error.strerror}"]) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.unlock()
            raise ConfigError([f"data_dir: another collector runs with {self._path}"]) from error

    def unlock(self) -> None:
        """Let others be this collector; also when it never was."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self) -> None:
        """Write the state now, and share it; raises ConfigError when it cannot be written."""
        snapshot = self.decoder.snapshot()
        if self._sharer is not None:
            self._sharer.offer(snapshot)
        save_state(self._path, SavedState(self.epoch, snapshot))

    def save_when_due(self, now_ms: int) -> None:
        """Write the state once a minute, share it more often; a failure is counted and tried again a minute later."""
        if self._sharer is not None:
            self._exchange(self._sharer, now_ms)
        if 0 <= now_ms - self._saved_ms < _SAVE_MS:
            return
        self._saved_ms = now_ms
        try:
            self.save()
        except ConfigError as error:
            self.errors += 1
            _log.warning("%s", error)

    def _exchange(self, sharer: Sharer, now_ms: int) -> None:
        for snapshot in sharer.fetched():
            try:
                self.decoder.fill(snapshot)
            except InputError as error:
                self._forget(error)
        if not 0 <= now_ms - self._shared_ms < _SHARE_MS:
            self._shared_ms = now_ms
            sharer.offer(self.decoder.snapshot(), wanted=self.decoder.is_waiting)

    def _load(self) -> SavedState:
        try:
            return load_state(self._path)
        except InputError as error:
            self._forget(error)
            return SavedState()

    def _restored(self, shared: list[bytes], own: bytes, make_decoder: Callable[[], Decoder]) -> Decoder:
        """A decoder that knows what this collector has learnt itself, and is lent what others shared."""
        decoder = make_decoder()
        pairs = [(decoder.restore, own)] if own else []
        for take, snapshot in (*pairs, *((decoder.lend, each) for each in shared)):
            try:
                take(snapshot)
            except InputError as error:
                self._forget(error)
        return decoder

    def _forget(self, error: InputError) -> None:
        self.errors += 1
        _log.warning("starting without some saved templates: %s", error)
