"""Aggregate documents as the two tables that every answer is made of.

In: live files of documents and a question. Out: SQL for `items` (bucket, key, measures, error) and `groups` (bucket, measures,
bound), see stores/parquet/answers.py. Refuses to know where the files are and what is asked of the tables.

An item that a window's top K lacks has at most a bound there (docs/explanation/numbers.md 8): nothing without an Other document;
else no more than Other itself, and no more than the floor, or, where items were left out that are no smaller than the floor, the
last ranked value plus the floor, since no item's error is larger than its group's floor. `items.error` is an item's own error less
the bounds of the windows in which it is ranked, so that error + the sum of all bounds is the whole error of the item.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flowpb.groupings import Grouping, Kind, Scope, Values
from stores.contract import MEASURES
from stores.parquet.statements import Statement, bucket, latest, listed, sums, where
from stores.questions import NO_APPLICATION, Filters, Items, Ranked, Span

_KIND: Final = {Items.APPLICATIONS: Kind.APPLICATION, Items.HOSTS: Kind.HOST, Items.CONVERSATIONS: Kind.CONVERSATION}
_KEY: Final = {
    Items.APPLICATIONS: "application",
    Items.HOSTS: "host_address AS host",
    Items.CONVERSATIONS: "conversation_key",
    Items.INTERFACES: "location, exporter_addr AS exporter, if_index AS interface",
    Items.EXPORTERS: "location, exporter_addr AS exporter",
}


_COLUMNS: Final = ", ".join(
    (
        *("window_start_ms", "window_end_ms", "grouped_by", "aggregation_type", "slot", "group_id", "error", "floor"),
        *("location", "exporter_addr", "if_index", "application", "host_address", "conversation_key", "item"),
        *MEASURES,
    )
)
"""What answers are made of; the other columns of documents stay on disk."""


@dataclass(frozen=True, slots=True)
class DocumentFiles:
    """Paths of document files: `settled` ones hold each group's only version, `open` ones may hold several."""

    settled: Sequence[str]
    open: Sequence[str]


def aggregate_tables(
    files: DocumentFiles, scope: Scope, items: Ranked | None, span: Span, filters: Filters, step_ms: int | None
) -> list[Statement]:
    """Statements that make `documents`, `items` and `groups` out of the latest version of each document of a scope."""
    kind = _kind_of(items) if items else _filtered_kind(filters)
    total = Grouping(scope, Kind.TOTAL).grouped_by
    ranked = Grouping(scope, kind).grouped_by if kind else total
    return [
        _documents(files, {total, ranked}, span, filters),
        _bounds(ranked, total),
        _items(items, kind, ranked, span, filters, step_ms),
        _groups(total, span, step_ms),
    ]


def scope_of(items: Ranked | None, filters: Filters) -> Scope:
    """The widest scope whose groups answer: where no exporter is asked for, one group has what all of them have."""
    if filters.interface is not None or items is Items.INTERFACES:
        return Scope.INTERFACE
    if filters.exporter is not None or items is Items.EXPORTERS:
        return Scope.EXPORTER
    return Scope.SYSTEM if filters.location is None else Scope.LOCATION


def kept_at(items: Ranked | None, scope: Scope) -> bool:
    """Whether documents of a scope rank the items."""
    return not isinstance(items, Values) or scope in items.scopes


def windows_of(files: DocumentFiles, scope: Scope, span: Span) -> Statement:
    """How many windows have totals of exporters, and of a wider scope."""
    counted = "count(DISTINCT window_start_ms) FILTER (grouped_by = {})"
    columns = ", ".join((counted.format("$exporter"), counted.format("$scope")))
    names = {"exporter": Grouping(Scope.EXPORTER, Kind.TOTAL).grouped_by, "scope": Grouping(scope, Kind.TOTAL).grouped_by}
    paths = [*files.settled, *files.open]
    source = f"read_parquet({listed(paths)})" if paths else "no_documents"
    return Statement(
        f"SELECT {columns} FROM {source} WHERE window_start_ms >= {span.from_ms} AND window_start_ms < {span.to_ms}", names
    )


def _bounds(ranked: str, total: str) -> Statement:
    return Statement(
        """CREATE OR REPLACE TEMP TABLE bounds AS SELECT window_start_ms, group_id,
            CASE WHEN max(slot) FILTER (aggregation_type = 'OTHER') IS NULL THEN 0
            ELSE least(
                max(bytes_total) FILTER (aggregation_type = 'OTHER'),
                max(floor) + CASE WHEN count(*) FILTER (aggregation_type = 'TOPK')
                    < max(slot) FILTER (aggregation_type = 'OTHER') THEN 0
                    ELSE min(bytes_total) FILTER (aggregation_type = 'TOPK') END
            ) END AS bound
        FROM documents WHERE grouped_by = $ranked AND $ranked <> $total GROUP BY ALL""",
        {"ranked": ranked, "total": total},
    )


def _kind_of(items: Ranked) -> Kind | Values | None:
    return items if isinstance(items, Values) else _KIND.get(items)


def _filtered_kind(filters: Filters) -> Kind | None:
    if filters.application is not None:
        return Kind.APPLICATION
    return Kind.HOST if filters.host is not None else None


def _documents(files: DocumentFiles, grouped_by: set[str], span: Span, filters: Filters) -> Statement:
    conditions, values = where(
        ("window_start_ms >= {}", "from", span.from_ms),
        ("window_start_ms < {}", "to", span.to_ms),
        ("list_contains({}, grouped_by)", "grouped_by", sorted(grouped_by)),
        ("exporter_addr = {}", "exporter", filters.exporter),
        ("if_index = {}", "interface", filters.interface),
        ("location = {}", "location", filters.location),
    )
    parts = [f"SELECT {_COLUMNS} FROM no_documents"]
    if files.settled:
        parts.append(f"SELECT {_COLUMNS} FROM read_parquet({listed(files.settled)}) WHERE {conditions}")
    if files.open:
        parts.append(f"SELECT {_COLUMNS} FROM ({latest(files.open, conditions)})")
    query = " UNION ALL BY NAME ".join(parts)
    return Statement(f"CREATE OR REPLACE TEMP TABLE documents AS {query}", values if len(parts) > 1 else {})


def _items(
    items: Ranked | None, kind: Kind | Values | None, ranked: str, span: Span, filters: Filters, step_ms: int | None
) -> Statement:
    conditions, values = where(
        ("grouped_by = {}", "ranked", ranked),
        ("aggregation_type = {}", "type", "TOPK" if kind else "TOTAL"),
        ("application = {}", "application", filters.application or None),
        ("host_address = {}", "host", filters.host),
    )
    if filters.application == NO_APPLICATION:
        conditions += " AND application IS NULL"
    key = "" if items is None else ", item" if isinstance(items, Values) else f", {_KEY[items]}"
    return Statement(
        f"""CREATE OR REPLACE TEMP TABLE items AS
        SELECT {bucket(span, step_ms)} AS bucket{key}, {sums()}, sum(error - coalesce(bound, 0)) AS error,
            min(window_start_ms) AS first_ms, max(window_end_ms) AS last_ms
        FROM documents LEFT JOIN bounds USING (window_start_ms, group_id) WHERE {conditions} GROUP BY ALL""",
        values,
    )


def _groups(total: str, span: Span, step_ms: int | None) -> Statement:
    none = ", ".join(f"0 AS {name}" for name in MEASURES)
    return Statement(
        f"""CREATE OR REPLACE TEMP TABLE groups AS
        SELECT bucket, {sums()}, sum(bound) AS bound, min(first_ms) AS first_ms, max(last_ms) AS last_ms FROM (
            SELECT {bucket(span, step_ms)} AS bucket, {", ".join(MEASURES)}, 0 AS bound,
                window_start_ms AS first_ms, window_end_ms AS last_ms
            FROM documents WHERE grouped_by = $total
            UNION ALL SELECT {bucket(span, step_ms)}, {none}, bound, NULL, NULL FROM bounds
        ) GROUP BY ALL""",
        {"total": total},
    )
