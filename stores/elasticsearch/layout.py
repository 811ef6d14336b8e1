"""Names of indices: which day a document belongs to, and which indices a question has to look at.

In: a prefix and times. Out: names. Refuses to know what is in the documents.

    netflow-YYYY-MM-DD       raw flows, by the UTC day in which their batch was closed: a flow's own times may be garbage
    netflow_agg-YYYY-MM-DD   minute aggregates, by the UTC day of their window
    nephrite_ledger-YYYY-MM-DD     rows of the ledger, by the UTC day of their minute
    nephrite_repair-YYYY-MM-DD   what came too late for its windows and waits for their repair, by the UTC day in which it came
    nephrite_1h-YYYY.MM      hours, by month
    nephrite_1d-YYYY         days, by year
    nephrite_partials-LEVEL-YYYY-MM-DD   what longer windows are made of, by the UTC day of their window
    nephrite_dead_letters-YYYY-MM   documents that Elasticsearch refused
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from stores.questions import Span

RAW: Final = "netflow"
AGGREGATES: Final = "netflow_agg"
LEDGER: Final = "nephrite_ledger"
HOURS: Final = "nephrite_1h"
DAYS: Final = "nephrite_1d"
PARTIALS: Final = "nephrite_partials"
DEAD_LETTERS: Final = "nephrite_dead_letters"
REPAIRS: Final = "nephrite_repair"
KIND_OF: Final[Mapping[str, str]] = {LEVEL_MINUTE: AGGREGATES, LEVEL_HOUR: HOURS, LEVEL_DAY: DAYS}
"""The indices of each level of aggregates."""
_FORMS: Final = {HOURS: "%Y.%m", DAYS: "%Y", DEAD_LETTERS: "%Y-%m"}
"""What follows the kind in the names of indices that are not daily."""
DAY_MS: Final = 86_400_000
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, beyond which there are no dates."""
_NAMED: Final = 40
"""A question about more indices asks for all of them by a pattern, so that its URL stays short."""


def index_at(prefix: str, kind: str, time_ms: int) -> str:
    """The index of the day, month or year of a time."""
    return f"{prefix}{kind}-{_day(time_ms).strftime(_form(kind))}"


def partials_kind(level: str) -> str:
    """The kind of the partials of a level."""
    return f"{PARTIALS}-{level}"


def days_of(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the UTC day of each time."""
    days: NDArray[np.int64] = np.clip(times_ms, 0, _LAST_MS) // DAY_MS
    return days


def pattern(prefix: str, kind: str) -> str:
    """All indices of a kind."""
    return f"{prefix}{kind}-*"


def indices_of(prefix: str, kind: str, span: Span) -> str:
    """The indices that a span touches, as a path names them; some of them may not exist."""
    first, last = _day(span.from_ms), _day(max(span.to_ms - 1, span.from_ms))
    names = {f"{prefix}{kind}-{day.strftime(_form(kind))}": None for day in _days(first, last)}
    return pattern(prefix, kind) if len(names) >= _NAMED else ",".join(names)


def last_day_of_index(prefix: str, kind: str, name: str) -> date | None:
    """The last day of an index of this kind; None for any other name."""
    head = f"{prefix}{kind}-"
    if not name.startswith(head):
        return None
    try:
        first = datetime.strptime(name.removeprefix(head), _form(kind)).replace(tzinfo=UTC).date()
    except ValueError:
        return None
    if kind == DAYS:
        return date(first.year, 12, 31)
    if kind in _FORMS:
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first


def _form(kind: str) -> str:
    return _FORMS.get(kind, "%Y-%m-%d")


def _day(time_ms: int) -> date:
    return datetime.fromtimestamp(min(max(time_ms, 0), _LAST_MS) // 1000, UTC).date()


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
