"""Times and durations as people write them."""

import pytest

from common.errors import UsageError
from query.times import parse_duration, parse_time, show_span, show_time
from stores.questions import Span

NOW = 1_790_000_000_123


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-15m", NOW - 900_000),
        ("15m", NOW - 900_000),
        ("-4h", NOW - 4 * 3_600_000),
        ("-2d", NOW - 2 * 86_400_000),
        ("-1w", NOW - 7 * 86_400_000),
        ("-0s", NOW),
        ("1790000000", 1_790_000_000_000),
        ("1790000000123", NOW),
        ("0", 0),
        ("2026-09-21", 1_789_948_800_000),
        ("2026-09-21T14:13:20", 1_790_000_000_000),
        ("2026-09-21T14:13:20.123Z", NOW),
        ("2026-09-21T16:13:20+02:00", 1_790_000_000_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "-15", "1.5h", "2026-13-01", "-15 m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is no time: give"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["999999999999999", "-999999999w", "1900-01-01"])
def test_times_that_cannot_be_shown(text: str) -> None:
    with pytest.raises(UsageError, match="before 1970 or after 9999"):
        parse_time(text, NOW)


def test_durations() -> None:
    assert [parse_duration(text) for text in ("90s", "5m", "1h", "1d")] == [90_000, 300_000, 3_600_000, 86_400_000]
    for text in ("0m", "5", "-5m", "m"):
        with pytest.raises(UsageError, match="is no duration"):
            parse_duration(text)


def test_times_are_shown_in_utc_and_round_trip() -> None:
    assert show_time(NOW) == "2026-09-21T14:13:20.123Z"
    assert parse_time(show_time(NOW), 0) == NOW
    assert show_span(Span(1_790_000_000_000, 1_790_000_060_000)) == "2026-09-21T14:13:20Z to 14:14:20Z"
    assert show_span(Span(0, 86_400_000)) == "1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z"
