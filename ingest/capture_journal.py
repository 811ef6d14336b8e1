"""What is remembered of watched captures over restarts: which have been read, which one is being read, and the templates by then.

In: files by path and head (a checksum of their first octets, which hold the time of the first frame). Out: the same after a
restart or a crash. One file, replaced as a whole and written through, before anything that depends on it happens.
"""

import base64
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from common.errors import ConfigError
from ingest.state import next_epoch

FILE: Final = "ingest-captures.json"


@dataclass(slots=True)
class _Content:
    epoch: int = 0
    current: tuple[str, str] | None = None
    read: dict[str, tuple[str, int]] = field(default_factory=dict)
    snapshot: str = ""


class CaptureJournal:
    """Raises ConfigError when the file is damaged: to forget it would read all captures again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _load(path)

    @property
    def epoch(self) -> int:
        """The last one that was used, 0 if none was."""
        return self._content.epoch

    @property
    def snapshot(self) -> bytes:
        """The decoder's, as of the last capture that was read to its end."""
        return base64.b64decode(self._content.snapshot)

    @property
    def unfinished(self) -> str:
        """Path of the capture that was being read when the last process ended; empty if there is none."""
        return self._content.current[0] if self._content.current else ""

    def octets_read(self, path: Path, head: str) -> int:
        """How long this capture was when it was read, or refused; 0 if it was not."""
        known, octets = self._content.read.get(str(path), ("", 0))
        return octets if known == head else 0

    def begin(self, path: Path, head: str, now_ms: int) -> int:
        """The epoch for the batches of a capture: that of the last attempt, if there was one, so that readers drop repeats."""
        content = self._content
        if content.current != (str(path), head):
            content.current = (str(path), head)
            content.epoch = next_epoch(content.epoch, now_ms)
            self._save()
        return content.epoch

    def pause(self, now_ms: int) -> int:
        """An epoch for heartbeats between captures. It need not survive a crash: the next one is larger by the clock."""
        self._content.epoch = next_epoch(self._content.epoch, now_ms)
        return self._content.epoch

    def finish(self, path: Path, head: str, octets: int, snapshot: bytes | None) -> None:
        """A capture has been read, and all of it is on the bus; `snapshot` None: it was refused, and nothing is."""
        self._content.read[str(path)] = head, octets
        self._content.current = None
        if snapshot is not None:
            self._content.snapshot = base64.b64encode(snapshot).decode()
        self._save()

    def keep(self, folder: Path, present: Collection[Path]) -> None:
        """Forget captures of a folder that are there no more."""
        gone = [text for text in self._content.read if Path(text).parent == folder and Path(text) not in present]
        for text in gone:
            del self._content.read[text]
        if gone:
            self._save()

    def _save(self) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                json.dump(asdict(self._content), file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise ConfigError([f"ingest.captures: {self._path} cannot be written: {error.strerror}"]) from error


def _load(path: Path) -> _Content:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        current = tree["current"]
        return _Content(int(tree["epoch"]), tuple(current) if current else None, _read_of(tree["read"]), str(tree["snapshot"]))
    except FileNotFoundError:
        return _Content()
    except OSError as error:
        raise ConfigError([f"ingest.captures: {path} cannot be read: {error.strerror}"]) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError([f"ingest.captures: {path} is damaged; without it all captures would be read again: {error}"]) from error


def _read_of(tree: dict[str, list[Any]]) -> dict[str, tuple[str, int]]:
    return {str(path): (str(head), int(octets)) for path, (head, octets) in tree.items()}
