"""A range cut to the levels of aggregates that answer its parts.

In: a range, and what each level has. Out: pieces that cover the range, in their order. Refuses to know stores and questions. Whole
days are answered by days, whole hours at the edges of that by hours, the rest by minutes; where the shorter ones are gone already,
the edge is rounded out to what there is.
"""

from collections.abc import Mapping, Sequence

from flowpb.groupings import LEVEL_MS
from stores.questions import Piece, Source, Span

Has = Mapping[str, Span]
"""What each level has; levels without anything are not in it."""


def usable(has: Has, step_ms: int | None) -> dict[str, Span]:
    """The levels whose windows fit into steps, longest first."""
    return {
        level: has[level] for level in reversed(list(LEVEL_MS)) if level in has and (not step_ms or step_ms % LEVEL_MS[level] == 0)
    }


def cut(span: Span, levels: Has) -> list[Piece]:
    """Pieces of `levels` (longest first, at least one) that cover `span`, rounded out where it must be."""
    (level, extent), *shorter = levels.items()
    if not shorter:
        return [_piece(level, _outward(span, level))]
    rest = dict(shorter)
    inner = _inner(span, level, extent, rest)
    if inner is None:
        return cut(span, rest)
    left = cut(Span(span.from_ms, inner.from_ms), rest) if span.from_ms < inner.from_ms else []
    right = cut(Span(inner.to_ms, span.to_ms), rest) if inner.to_ms < span.to_ms else []
    return [*left, _piece(level, inner), *right]


def source_of(pieces: Sequence[Piece]) -> Source:
    """What all pieces come from, or `mixed`."""
    sources = {piece.source for piece in pieces}
    return sources.pop() if len(sources) == 1 else "mixed"


def _inner(span: Span, level: str, extent: Span, shorter: Has) -> Span | None:
    """What a level takes of a span: its whole windows, and those at the edges whose shorter ones are gone."""
    length_ms = LEVEL_MS[level]
    from_ms = -(-max(span.from_ms, extent.from_ms) // length_ms) * length_ms
    to_ms = min(span.to_ms, extent.to_ms) // length_ms * length_ms
    outer = _outward(span, level)
    if outer.from_ms >= extent.from_ms and not _reach(shorter, span.from_ms):
        from_ms = outer.from_ms
    if outer.to_ms <= extent.to_ms and not _reach(shorter, min(to_ms, span.to_ms)):
        to_ms = outer.to_ms
    return Span(from_ms, to_ms) if from_ms < to_ms else None


def _reach(shorter: Has, time_ms: int) -> bool:
    """Whether any shorter level reaches back to a time."""
    return any(extent.from_ms <= time_ms for extent in shorter.values())


def _outward(span: Span, level: str) -> Span:
    length_ms = LEVEL_MS[level]
    return Span(span.from_ms // length_ms * length_ms, -(-span.to_ms // length_ms) * length_ms)


def _piece(level: str, span: Span) -> Piece:
    sources: dict[str, Source] = {"1m": "1m", "1h": "1h", "1d": "1d"}
    return Piece(sources[level], span)
