"""Rules in force: a rule book that is compiled again when its files change (`columns.live`)."""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from columns.classify import Classifier, compile_book
from columns.live import Live, follow
from columns.rules.files import files_of, read_book


def open_rules(path: Path, clock: Callable[[], float] = time.monotonic) -> Live[Classifier]:
    """The rules of a file, in force from now on; raises ConfigError if they cannot be used at all."""
    return follow(lambda: compile_book(read_book(path)), lambda: files_of(path), clock)


@lru_cache(maxsize=4)
def process_rules(path: str) -> Live[Classifier]:
    """The rules of a file, shared by everything in this process; raises ConfigError if they cannot be used at all."""
    return open_rules(Path(path))
