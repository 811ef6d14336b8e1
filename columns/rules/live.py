"""Rules in force: a rule book that is compiled again when its files change, while flows go on.

In: the path of the book. Out: the newest classifier whose files could be used. A bad file leaves the last good classifier in force
and its faults to be seen. Refuses to know flows. One thread compiles; the others take what is there.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from columns.classify import Classifier, compile_book
from columns.rules.files import files_of, read_book
from common.errors import ConfigError

_LOOK_EVERY_S: Final = 5.0

Signature = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of each file."""


@dataclass(slots=True)
class LiveRules:
    """Make it with `open_rules`. `problems` are those of the last attempt, empty when it succeeded."""

    path: Path
    classifier: Classifier
    signature: Signature
    clock: Callable[[], float] = time.monotonic
    problems: tuple[str, ...] = ()
    loads: int = 1
    failures: int = 0
    looked_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    worker: threading.Thread | None = None

    def current(self) -> Classifier:
        """The classifier in force. At most every five seconds it looks at the files, and compiles in another thread."""
        now = self.clock()
        if now - self.looked_s >= _LOOK_EVERY_S and self.lock.acquire(blocking=False):
            try:
                self.looked_s = now
                if self.worker is None or not self.worker.is_alive():
                    self._look()
            finally:
                self.lock.release()
        return self.classifier

    def reload(self) -> None:
        """Read and compile again, now; after a fault the last good classifier stays, and `problems` says why."""
        signature = _signature(self.path)
        try:
            self.classifier = compile_book(read_book(self.path))
            self.problems = ()
            self.loads += 1
        except ConfigError as error:
            self.problems = error.problems
            self.failures += 1
        self.signature = signature

    def _look(self) -> None:
        if _signature(self.path) != self.signature:
            self.worker = threading.Thread(target=self.reload, name="rules", daemon=True)
            self.worker.start()


def open_rules(path: Path, clock: Callable[[], float] = time.monotonic) -> LiveRules:
    """The rules of a file, in force from now on; raises ConfigError if they cannot be used at all."""
    signature = _signature(path)
    return LiveRules(path, compile_book(read_book(path)), signature, clock, looked_s=clock())


@lru_cache(maxsize=4)
def process_rules(path: str) -> LiveRules:
    """The rules of a file, shared by everything in this process; raises ConfigError if they cannot be used at all."""
    return open_rules(Path(path))


def _signature(path: Path) -> Signature:
    found = []
    for file in files_of(path):
        try:
            status = file.stat()
        except OSError:
            found.append((str(file), 0, -1))
        else:
            found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)
