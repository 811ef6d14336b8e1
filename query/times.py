"""Times of answers, as people read them; how they write them is in common.times."""

from common.times import parse_duration, parse_time, show_time
from stores.questions import Span

__all__ = ["parse_duration", "parse_time", "show_span", "show_time"]


def show_span(span: Span) -> str:
    """From and to, the second without the date when it is the same."""
    first, last = show_time(span.from_ms), show_time(span.to_ms)
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"
