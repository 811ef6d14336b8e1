"""Names of indices: which day a document belongs to, and which indices a question has to look at.

In: a prefix and times. Out: names. Refuses to know what is in the documents.

    netflow-YYYY-MM-DD       raw flows, by the UTC day in which their batch was closed: a flow's own times may be garbage
    netflow_agg-YYYY-MM-DD   minute aggregates, by the UTC day of their window
    nephrite_ledger-YYYY-MM-DD     rows of the ledger, by the UTC day of their minute
    nephrite_repair-YYYY-MM-DD   what came too late for its windows and waits for their repair, by the UTC day in which it came
    nephrite_dead_letters-YYYY-MM   documents that Elasticsearch refused
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stores.questions import Span

RAW: Final = "netflow"
AGGREGATES: Final = "netflow_agg"
LEDGER: Final = "nephrite_ledger"
DEAD_LETTERS: Final = "nephrite_dead_letters"
REPAIRS: Final = "nephrite_repair"
DAY_MS: Final = 86_400_000
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, beyond which there are no dates."""
_NAMED_DAYS: Final = 40
"""A question about more days asks for all of them by a pattern, so that its URL stays short."""


def day_index(prefix: str, kind: str, time_ms: int) -> str:
    """The index of a day."""
    return f"{prefix}{kind}-{_day(time_ms).isoformat()}"


def month_index(prefix: str, kind: str, time_ms: int) -> str:
    """The index of a month."""
    return f"{prefix}{kind}-{_day(time_ms):%Y-%m}"


def days_of(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the UTC day of each time."""
    days: NDArray[np.int64] = np.clip(times_ms, 0, _LAST_MS) // DAY_MS
    return days


def pattern(prefix: str, kind: str) -> str:
    """All indices of a kind."""
    return f"{prefix}{kind}-*"


def indices_of(prefix: str, kind: str, span: Span) -> str:
    """The indices whose days a span touches, as a path names them; some of them may not exist."""
    first, last = _day(span.from_ms), _day(max(span.to_ms - 1, span.from_ms))
    if (last - first).days >= _NAMED_DAYS:
        return pattern(prefix, kind)
    return ",".join(f"{prefix}{kind}-{day.isoformat()}" for day in _days(first, last))


def day_of_index(prefix: str, kind: str, name: str) -> date | None:
    """The day of an index of this kind; None for any other name."""
    head = f"{prefix}{kind}-"
    try:
        return date.fromisoformat(name.removeprefix(head)) if name.startswith(head) else None
    except ValueError:
        return None


def _day(time_ms: int) -> date:
    return datetime.fromtimestamp(min(max(time_ms, 0), _LAST_MS) // 1000, UTC).date()


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
