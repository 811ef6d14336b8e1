"""The clock correction, by hand from docs/explanation/numbers.md section 10."""

from ingest.loadgen.offsets import ClockOffset

MINUTE = 60_000


def corrections(*seen: tuple[int, int]) -> list[int]:
    """Correction in force after each (receive time, receive time - export time)."""
    state, found = None, []
    for received, offset in seen:
        if state is None:
            state = ClockOffset.first(received, received - offset)
        state.see(received, received - offset)
        found.append(state.correction_ms)
    return found


def test_small_offsets_are_no_offsets() -> None:
    assert corrections((0, 4_999)) == [0]
    assert corrections((0, 5_000)) == [5_000]
    assert corrections((0, -4_001)) == [-5_000]  # floored to whole seconds
    assert corrections((0, -4_000)) == [0]


def test_it_changes_at_the_first_datagram_of_a_later_minute_only() -> None:
    assert corrections((0, 10_900), (5_000, 8_000), (59_999, 9_000), (MINUTE, 11_000)) == [10_000, 10_000, 10_000, 8_000]


def test_it_changes_by_two_seconds_at_least() -> None:
    assert corrections((0, 10_000), (1, 8_999), (MINUTE, 0), (2 * MINUTE, 0)) == [10_000, 10_000, 8_000, 0]
    assert corrections((0, 10_000), (1, 9_999), (MINUTE, 9_000)) == [10_000, 10_000, 10_000]


def test_silent_minutes_do_not_count() -> None:
    assert corrections((0, 10_000), (1, 7_000), (30 * MINUTE, 10_000)) == [10_000, 10_000, 7_000]
