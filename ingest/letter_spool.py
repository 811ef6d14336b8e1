"""Dead letters in the data folder: a spool that drops its oldest.

In: entries. Out: letters, for readers in any process. A store that cannot be written is counted.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bus.segments import Released
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.errors import BusError
from common.logs import Limited
from ingest.dead_letters import DeadLetter, letters_of

FOLDER: Final = "dead-letters"
_SEGMENTS: Final = 8
_log = Limited(logging.getLogger(__name__))


class SpoolLetters:
    """The store below `data_dir`."""

    def __init__(self, data_dir: Path, limit_bytes: int) -> None:
        self._path = data_dir / FOLDER
        self._limit_bytes = limit_bytes

    def open(self) -> "SpoolLetterbox":
        """The writing end; one at a time."""
        return SpoolLetterbox(self._path, self._limit_bytes)

    def read(self) -> Iterator[DeadLetter]:
        """All letters that have not been let go of."""
        if not self._path.is_dir():
            return
        source = SpoolSource(self._path, 1)
        try:
            yield from letters_of(source, max(source.begin(0), Released(self._path).get(0)))
        finally:
            source.close()

    def forget(self, below: int) -> None:
        """Let go of the letters with smaller numbers; their octets go with the last one of a segment."""
        source = SpoolSource(self._path, 1)
        try:
            source.release(0, below)
        finally:
            source.close()


class SpoolLetterbox:
    """The writing end."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        segment = max(1 << 16, limit_bytes // _SEGMENTS)
        self._spool = SpoolProducer(path, 1, SpoolLimits(max(limit_bytes, 2 * segment), segment, "drop_oldest", fsync=False))
        self._unflushed = False
        self.given = 0
        self.kept = 0
        self.failed = 0

    def put(self, entry: bytes) -> None:
        """Keep one entry."""
        self.given += 1
        try:
            self._spool.send(0, entry)
            self.kept += 1
            self._unflushed = True
        except BusError as error:
            self._note(error)

    def flush(self) -> None:
        """Make what was kept visible to readers."""
        if not self._unflushed:
            return
        self._unflushed = False
        try:
            self._spool.flush(1.0)
        except BusError as error:
            self._note(error)

    def close(self) -> None:
        """Let go of the files."""
        try:
            self._spool.close()
        except BusError as error:
            self._note(error)

    def _note(self, error: BusError) -> None:
        self.failed += 1
        _log.warning("dead letters", f"dead letters cannot be kept: {error}")
