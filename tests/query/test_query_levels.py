"""Ranges are cut to the longest windows that are kept, and tile what was asked for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flowpb.groupings import LEVEL_MS
from query.levels import cut, source_of, usable
from stores.questions import Piece, Span

M, H, D = 60_000, 3_600_000, 86_400_000
T = 20_000 * D
NOW = T + 10 * H + 7 * M
HAS = {"1m": Span(T - 2 * D, NOW), "1h": Span(T - 40 * D, T + 9 * H), "1d": Span(T - 300 * D, T)}


def pieces(from_ms: int, to_ms: int, step_ms: int | None = None) -> list[tuple[str, int, int]]:
    return [
        (one.source, one.span.from_ms - T, one.span.to_ms - T) for one in cut(Span(T + from_ms, T + to_ms), usable(HAS, step_ms))
    ]


def test_days_then_hours_then_minutes() -> None:
    assert pieces(-30 * D, 10 * H + 7 * M) == [("1d", -30 * D, 0), ("1h", 0, 9 * H), ("1m", 9 * H, 10 * H + 7 * M)]
    assert pieces(-D - H - M, -H) == [("1m", -D - H - M, -D - H), ("1h", -D - H, -H)]
    assert pieces(5 * M, 65 * M) == [("1m", 5 * M, 65 * M)]
    assert pieces(-M, 2 * H + M) == [("1m", -M, 0), ("1h", 0, 2 * H), ("1m", 2 * H, 2 * H + M)]


def test_an_edge_whose_minutes_are_gone_is_rounded_out() -> None:
    assert pieces(-10 * D + 5 * M, -10 * D + 3 * H + M) == [("1h", -10 * D, -10 * D + 4 * H)]
    assert pieces(-100 * D + 5 * M, -99 * D - 5 * H) == [("1d", -100 * D, -99 * D)]
    assert pieces(-100 * D + 5 * M, -M) == [("1d", -100 * D, -D), ("1h", -D, -H), ("1m", -H, -M)]


def test_steps_need_windows_that_fit() -> None:
    assert pieces(-5 * D, 0, 5 * M) == [("1m", -5 * D, 0)]
    assert pieces(-5 * D, 0, 6 * H) == [("1h", -5 * D, 0)]
    assert pieces(-5 * D, 0, D) == [("1d", -5 * D, 0)]
    assert usable({"1h": HAS["1h"]}, 5 * M) == {}


def test_before_and_after_everything_the_shortest_is_asked() -> None:
    assert pieces(-400 * D + M, -300 * D) == [("1m", -400 * D + M, -300 * D)]
    assert pieces(11 * H, 12 * H) == [("1m", 11 * H, 12 * H)]


def test_what_an_answer_says() -> None:
    assert source_of([Piece("1h", Span(0, H))]) == "1h"
    assert source_of([Piece("1h", Span(0, H)), Piece("1m", Span(H, H + M))]) == "mixed"


@given(
    st.integers(0, 500 * 24 * 60),
    st.integers(1, 500 * 24 * 60),
    st.lists(st.integers(0, 400 * 24), min_size=6, max_size=6),
    st.sampled_from([None, M, 5 * M, H, 6 * H, D]),
)
def test_pieces_tile_the_range_with_whole_windows(first: int, length: int, ends: list[int], step_ms: int | None) -> None:
    has = {
        level: Span(
            from_ms * H // LEVEL_MS[level] * LEVEL_MS[level], (from_ms + more + 24) * H // LEVEL_MS[level] * LEVEL_MS[level]
        )
        for level, from_ms, more in zip(LEVEL_MS, ends[:3], ends[3:], strict=True)
    }
    span = Span(first * M, (first + length) * M)
    found = cut(span, usable(has, step_ms) or has)
    assert found[0].span.from_ms <= span.from_ms
    assert found[-1].span.to_ms >= span.to_ms
    for one, following in pairwise(found):
        assert one.span.to_ms == following.span.from_ms
    for one in found:
        assert one.span.from_ms < one.span.to_ms
        assert one.span.from_ms % LEVEL_MS[one.source] == one.span.to_ms % LEVEL_MS[one.source] == 0
        if one.source != "1m":
            assert has[one.source].from_ms <= one.span.from_ms
            assert one.span.to_ms <= has[one.source].to_ms
