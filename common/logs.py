"""Logs for people and machines: one line per event, as text or JSON, and a limit for what would repeat without end.

In: the records of `logging`. Out: lines on standard error. What a limit holds back is counted and told with the next line.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Literal, TextIO

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


def set_up_logs(form: Literal["text", "json"], level: str, out: TextIO | None = None) -> None:
    """Send all records of `level` and above to `out` (standard error) in this form; replaces what was set up before."""
    handler = logging.StreamHandler(out or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else _PLAIN)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Limited:
    """Writes at most one line per period and topic; the next one says how many were held back. Topics are few and fixed."""

    def __init__(self, logger: logging.Logger, period_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._last_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def warning(self, topic: str, message: str) -> None:
        """Log `message`, unless this topic was logged within the period."""
        now_s = self._clock()
        if topic in self._last_s and now_s - self._last_s[topic] < self._period_s:
            self._held_back[topic] = self._held_back.get(topic, 0) + 1
            return
        self._last_s[topic] = now_s
        held_back = self._held_back.pop(topic, 0)
        self._logger.warning("%s%s", message, f" ({held_back} more like this since the last line)" if held_back else "")
