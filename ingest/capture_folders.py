"""Which captures of the watched folders are complete and have not been read.

In: the settings and the time. Out: files in the order of their names, each with its head. A file is complete once it has not
changed for its folder's time; hidden files and other suffixes are left alone, so that a writer may rename. What cannot be listed is
a fault that is told, and tried again. Refuses to read more than a file's head.
"""

import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.config import CaptureFolder
from common.errors import ConfigError, InputError
from ingest.capture_journal import CaptureJournal
from ingest.listeners.pcap import SUFFIXES

_HEAD_OCTETS: Final = 256
_EMPTY_OCTETS: Final = 24
"""A pcap file without a frame: its writer waits for the first one."""

_Look = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A complete capture; `head` tells it from others that had its name before.

    `octets_read`: how long it was when it was read before; 0 if it was not.
    """

    path: Path
    head: str
    octets: int
    octets_read: int
    folder: CaptureFolder

    def put_away(self) -> Path | None:
        """Move it to the folder for those that have been read, if there is one; where it is then. Raises InputError."""
        if not self.folder.done_folder:
            return None
        place = self.path.parent / self.folder.done_folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            target = place / self.path.name
            number = 0
            while target.exists():
                number += 1
                target = place / f"{self.path.stem}.{number}{self.path.suffix}"
            shutil.move(self.path, target)
        except OSError as error:
            raise InputError(f"{self.path}: read, but cannot be moved to {place}: {error.strerror}") from error
        return target


class CaptureFolders:
    """All watched folders. `look` is called again and again, by one thread."""

    def __init__(self, folders: Sequence[CaptureFolder], journal: CaptureJournal) -> None:
        self._folders = tuple(folders)
        self._journal = journal
        self._seen: dict[Path, tuple[_Look, int]] = {}

    def check(self) -> None:
        """Raises ConfigError with every path that is not there."""
        missing = [folder.path for folder in self._folders if not Path(folder.path).exists()]
        if missing:
            raise ConfigError([f"ingest.captures: {path}: no such file or folder" for path in missing])

    def look(self, now_ms: int, faults: list[str]) -> list[Found]:
        """Captures to be read now, the unfinished one first; what could not be looked at goes into `faults`."""
        found: list[Found] = []
        seen: dict[Path, tuple[_Look, int]] = {}
        for folder in self._folders:
            try:
                paths = _captures(Path(folder.path))
                found.extend(self._complete(folder, paths, now_ms, seen, faults))
                self._journal.keep(Path(folder.path), paths)
            except OSError as error:
                faults.append(f"{folder.path}: cannot be looked at: {error.strerror}")
        self._seen = seen
        unfinished = Path(self._journal.unfinished)
        return sorted(found, key=lambda each: each.path != unfinished)

    def _complete(
        self,
        folder: CaptureFolder,
        paths: Sequence[Path],
        now_ms: int,
        seen: dict[Path, tuple[_Look, int]],
        faults: list[str],
    ) -> Iterator[Found]:
        for path in paths:
            try:
                status = path.stat()
                look = (status.st_size, status.st_mtime_ns)
                before = self._seen.get(path)
                since_ms = before[1] if before is not None and before[0] == look else now_ms
                seen[path] = look, since_ms
                settled_ms = now_ms - folder.settle_s * 1000
                if status.st_size > _EMPTY_OCTETS and (since_ms <= settled_ms or status.st_mtime_ns // 1_000_000 <= settled_ms):
                    head = _head(path)
                    octets_read = self._journal.octets_read(path, head)
                    if octets_read != status.st_size:
                        yield Found(path, head, status.st_size, octets_read, folder)
            except OSError as error:
                faults.append(f"{path}: cannot be looked at: {error.strerror}")


def _captures(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and not each.name.startswith(".") and each.is_file())


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return f"{zlib.crc32(file.read(_HEAD_OCTETS)):08x}"
