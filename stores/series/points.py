"""From aggregate documents to points of time series.

In: tables of AGGREGATE. Out: points of the documents that the last mark wrote: totals of interfaces, and their top applications.
Each is the amount of one minute, at the end of the minute: so a point that is sent twice is the same point. Refuses to know
protocols.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

_TOTAL: Final = "EXPORTER_INTERFACE"
_APPLICATION: Final = "EXPORTER_INTERFACE_APPLICATION"
_COUNTERS: Final = ("bytes", "packets", "flows")
_SIDES: Final = {"in": "ingress", "out": "egress"}
_COLUMNS: Final = (
    "window_end_ms", "grouped_by", "aggregation_type", "location", "exporter_addr", "if_index", "application",
    *(f"{counter}_{side}" for counter in _COUNTERS for side in _SIDES.values()),
)  # fmt: skip


class Series(NamedTuple):
    """What tells a series from others; `application` is empty for the interface's total."""

    location: str
    exporter: str
    interface: int
    application: str
    direction: str
    counter: str


class Point(NamedTuple):
    """One value of a series."""

    series: Series
    time_ms: int
    value: int


def points_of(table: pa.Table) -> Iterator[Point]:
    """Points of the final documents; of an application its octets only. "Other" and "Unknown" are what has no name of its own."""
    wanted = pc.is_in(table.column("grouped_by").cast(pa.string()), pa.array([_TOTAL, _APPLICATION]))
    rows = table.select(_COLUMNS).filter(pc.and_(wanted, pc.fill_null(table.column("final"), False)))
    for row in rows.to_pylist():
        yield from _of_row(row)


def added_up(points: Iterable[Point], name: Callable[[Series], Series]) -> list[Point]:
    """One point per time and `name`: a receiver overwrites or refuses a second one, so what it cannot tell apart is one sum."""
    sums: dict[tuple[Series, int], int] = {}
    for series, time_ms, value in points:
        place = name(series), time_ms
        sums[place] = sums.get(place, 0) + value
    return [Point(*place, value) for place, value in sums.items()]


def _of_row(row: dict[str, Any]) -> Iterator[Point]:
    total = row["grouped_by"] == _TOTAL
    application = "" if total else _name(row)
    for counter in _COUNTERS if total else ("bytes",):
        for direction, side in _SIDES.items():
            series = Series(row["location"] or "", row["exporter_addr"], row["if_index"], application, direction, counter)
            yield Point(series, row["window_end_ms"], row[f"{counter}_{side}"])


def _name(row: dict[str, Any]) -> str:
    return "Other" if row["aggregation_type"] == "OTHER" else row["application"] or "Unknown"
