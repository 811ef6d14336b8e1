"""Times as people write them, and as they read them.

In: text of an option or setting. Out: milliseconds since 1970-01-01 UTC, or a UsageError that says what is understood. Refuses to
guess a time zone: a time without one is UTC, like everything that is shown.
"""

import re
from datetime import UTC, datetime
from typing import Final

from common.errors import UsageError

_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])")
_DIGITS: Final = re.compile(r"\d{1,15}")
_LAST_MS: Final = 253_402_300_799_999
_MS_FROM: Final = 100_000_000_000
"""Larger numbers are milliseconds: as seconds they would be beyond the year 5138."""


def parse_time(text: str, now_ms: int) -> int:
    """ISO 8601, epoch seconds or milliseconds, `now`, or a duration before now like -15m; raises UsageError."""
    time_ms = _parse(text, now_ms)
    if not 0 <= time_ms <= _LAST_MS:
        raise UsageError(f"{text!r} is before 1970 or after 9999")
    return time_ms


def parse_duration(text: str) -> int:
    """A duration like 90s, 5m, 1h, 1d in milliseconds; raises UsageError."""
    match = _DURATION.fullmatch(text)
    if not match or not int(match[1]):
        raise UsageError(f"{text!r} is no duration: give 5m, 1h or 1d")
    return int(match[1]) * _UNITS_MS[match[2]]


def show_time(ms: int) -> str:
    """UTC to the second, or to the millisecond where there are any."""
    form = "%Y-%m-%dT%H:%M:%S" + (f".{ms % 1000:03}" if ms % 1000 else "") + "Z"
    return datetime.fromtimestamp(ms // 1000, UTC).strftime(form)


def _parse(text: str, now_ms: int) -> int:
    if text == "now":
        return now_ms
    if match := _DURATION.fullmatch(text.removeprefix("-")):
        return now_ms - int(match[1]) * _UNITS_MS[match[2]]
    if _DIGITS.fullmatch(text):
        return int(text) if int(text) >= _MS_FROM else int(text) * 1000
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time: give 2026-01-31T12:00 (UTC), epoch seconds or milliseconds, -15m, -4h, -7d or now"
        raise UsageError(message) from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
