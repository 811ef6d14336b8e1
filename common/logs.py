"""Logs for people and machines: one line per event, as text or JSON, and a limit for what would repeat without end.

In: the records of `logging`. Out: lines on standard error. What a limit holds back is counted and told with the next line.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Literal, TextIO

_PERIOD_S: Final = 10.0
_TALKATIVE: Final = frozenset({"kafka"})
"""Libraries that repeat themselves for as long as something is away."""
_PLAIN: Final = logging.Formatter("%(levelname)s %(name)s: %(message)s")


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Quieter(logging.Filter):
    """Of a talkative library at most one record per period; the next one says how many were held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._held_back = _HeldBack(_PERIOD_S, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it may pass."""
        library = record.name.partition(".")[0]
        if library not in _TALKATIVE:
            return True
        held_back = self._held_back.next(library)
        if held_back is None:
            return False
        if held_back:
            record.msg, record.args = f"{record.getMessage()}{_more(held_back)}", None
        return True


def set_up_logs(form: Literal["text", "json"], level: str, out: TextIO | None = None) -> None:
    """Send all records of `level` and above to `out` (standard error) in this form; replaces what was set up before."""
    handler = logging.StreamHandler(out or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else _PLAIN)
    handler.addFilter(Quieter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Limited:
    """Writes at most one line per period and topic; the next one says how many were held back. Topics are few and fixed."""

    def __init__(self, logger: logging.Logger, period_s: float = _PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._held_back = _HeldBack(period_s, clock)

    def warning(self, topic: str, message: str) -> None:
        """Log `message`, unless this topic was logged within the period."""
        held_back = self._held_back.next(topic)
        if held_back is not None:
            self._logger.warning("%s%s", message, _more(held_back))


class _HeldBack:
    """When each topic was last let through, and how often it was not since then."""

    def __init__(self, period_s: float, clock: Callable[[], float]) -> None:
        self._period_s = period_s
        self._clock = clock
        self._last_s: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def next(self, topic: str) -> int | None:
        """How many were held back if this one may pass; None holds it back, too."""
        now_s = self._clock()
        if topic in self._last_s and now_s - self._last_s[topic] < self._period_s:
            self._counts[topic] = self._counts.get(topic, 0) + 1
            return None
        self._last_s[topic] = now_s
        return self._counts.pop(topic, 0)


def _more(held_back: int) -> str:
    return f" ({held_back} more like this since the last line)" if held_back else ""
