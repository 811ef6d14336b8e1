"""Something read from files that is read again when they change, while flows go on.

In: how to read it, and which files it is made of. Out: the newest that could be read. A bad file leaves the last good one in force
and its faults to be seen. Refuses to know what it is. One thread reads; the others take what is there.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from common.errors import NephriteError

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 5.0

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of each file."""


@dataclass(slots=True)
class Live(Generic[T]):
    """Make it with `follow`. `problems` are those of the last attempt, empty when it succeeded."""

    read: Callable[[], T]
    files: Callable[[], Iterable[Path]]
    value: T
    signature: Signature
    clock: Callable[[], float]
    looked_s: float
    changed_s: float
    problems: tuple[str, ...] = ()
    loads: int = 1
    failures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    worker: threading.Thread | None = None

    def current(self) -> T:
        """What is in force. At most every five seconds it looks at the files, and reads them in another thread."""
        now = self.clock()
        if now - self.looked_s >= _LOOK_EVERY_S and self.lock.acquire(blocking=False):
            try:
                self.looked_s = now
                if self.worker is None or not self.worker.is_alive():
                    self._look()
            finally:
                self.lock.release()
        return self.value

    def reload(self) -> None:
        """Read again, now; after a fault what was good stays, and `problems` says why."""
        signature = signature_of(self.files())
        try:
            self.value = self.read()
            self.problems = ()
            self.loads += 1
            self.changed_s = self.clock()
        except NephriteError as error:
            self.problems = tuple(str(error).splitlines())
            self.failures += 1
            _LOG.warning("what was in force stays: %s", "; ".join(self.problems))
        self.signature = signature

    def _look(self) -> None:
        if signature_of(self.files()) != self.signature:
            self.worker = threading.Thread(target=self.reload, name="reload", daemon=True)
            self.worker.start()


def follow(read: Callable[[], T], files: Callable[[], Iterable[Path]], clock: Callable[[], float] = time.monotonic) -> Live[T]:
    """What the files hold, in force from now on; raises what `read` raises if it cannot be read at all."""
    signature = signature_of(files())
    return Live(read, files, read(), signature, clock, clock(), clock())


def signature_of(files: Iterable[Path]) -> Signature:
    """Changes when one of the files does, or comes, or goes."""
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append((str(file), 0, 0, -1))
        else:
            found.append((str(file), status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
