"""Captured datagrams through a line whose clock is that of the capture, so that the same file gives the same batches every time.

In: datagrams in the order of the file. Out: the batches that a live collector would have closed by then. Refuses to know files.
"""

from collections.abc import Callable, Iterator
from typing import Final

from ingest.batcher import Batch
from ingest.decoder import Datagram
from ingest.line import Line

FED_AT_ONCE: Final = 512
HEARTBEAT_MS: Final = 30_000
"""Of the capture's time; a live collector's second would fill a long capture with heartbeats."""


class Pace:
    """One capture. `open_line` is asked for the line at the time of the first datagram; `now_ms` is the clock."""

    def __init__(self, open_line: Callable[[int], Line]) -> None:
        self._open_line = open_line
        self._waiting: list[Datagram] = []
        self.line: Line | None = None
        self.now_ms = 0

    def take(self, datagram: Datagram) -> Iterator[Batch]:
        """Feed one; the batches that have closed."""
        if self.line is None:
            self.now_ms = datagram.received_ms
            self.line = self._open_line(self.now_ms)
        self._waiting.append(datagram)
        if datagram.received_ms >= self.line.due_ms(self.now_ms) or len(self._waiting) >= FED_AT_ONCE:
            yield from self._advance(self.line)

    def end(self) -> Iterator[Batch]:
        """What is left, and the last reports."""
        if self.line is not None:
            yield from self._advance(self.line)
            yield from self.line.finish(self.now_ms)

    def _advance(self, line: Line) -> Iterator[Batch]:
        """Feed up to the last datagram; what is older than it by an interval closes at its own time, not at the next arrival."""
        if not self._waiting:
            return
        (*early, last), self._waiting = self._waiting, []
        yield from line.feed(early, self.now_ms)
        later_ms = max(self.now_ms, last.received_ms)
        due_ms = line.due_ms(self.now_ms)
        if later_ms >= due_ms:
            yield from line.tick(due_ms)
            yield from line.tick(later_ms)
        self.now_ms = later_ms
        yield from line.feed([last], later_ms)
