"""Raw flows as the two tables that every answer is made of, spread over windows as the pipeline does it.

In: live files of raw flows and a question. Out: SQL for `flows` (each with its interval), and for `items` and `groups`, see
stores/parquet/answers.py. Refuses to know where the files are and what is asked of the tables.

Everything is docs/explanation/numbers.md 2 to 5 in SQL, on integers. Products with a sampling interval need HUGEINT. Shares do not:
quotient x time is at most the value, and remainder x time at most the duration squared, where a duration is bounded by the horizon,
the lease and a minute. Flows that were too late for their windows count as in repaired aggregates (numbers.md 2.6).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from flowpb.groupings import FUTURE_MS, HORIZON_MS, REACH_MS, WINDOW_MS, Values
from flowpb.schema import Direction
from stores.contract import MEASURES
from stores.parquet.statements import Statement, bucket, listed, quoted, sums, where
from stores.questions import NO_APPLICATION, Filters, Items, Ranked, Span, multiplicity_of

_LARGEST: Final = 2**63 - 1
_FAR: Final = 2**60

MACROS: Final = (
    f"CREATE TEMP MACRO tame(t) AS greatest(least(t, {_FAR}), -{_FAR})",
    f"CREATE TEMP MACRO window_of(t) AS t // {WINDOW_MS} * {WINDOW_MS}",
    f"""CREATE TEMP MACRO scaled(v, i) AS CASE
        WHEN v IS NULL THEN 0
        WHEN i IS NULL OR NOT isfinite(i) OR i <= 0 OR i = 1 THEN least(v, {_LARGEST})::BIGINT
        WHEN i = floor(i) AND i < 9.0e18 THEN least(v::HUGEINT * i::HUGEINT, {_LARGEST})::BIGINT
        ELSE least(least(floor(v::DOUBLE * i), 9.3e18)::HUGEINT, {_LARGEST})::BIGINT END""",
    "CREATE TEMP MACRO share_until(v, d, t) AS v // d * t + v % d * t // d",
    """CREATE TEMP MACRO share(v, d, t0, t1) AS
        CASE WHEN d = 0 THEN v ELSE share_until(v, d, t1) - share_until(v, d, t0) END""",
)
_INTERVAL: Final = f"""
    tame(last_switched_ms) + coalesce(clock_correction_ms, 0) AS said_end,
    tame(coalesce(delta_switched_ms, first_switched_ms)) + coalesce(clock_correction_ms, 0) AS said_start,
    said_end > mark_ms + {FUTURE_MS} AS future,
    CASE WHEN future THEN mark_ms ELSE said_end END AS end_ms,
    least(CASE WHEN future THEN least(said_start, mark_ms) ELSE said_start END, end_ms) AS whole_start_ms,
    least(end_ms, greatest(whole_start_ms, frontier_ms - {HORIZON_MS})) AS clipped_ms,
    window_of(clipped_ms) + {WINDOW_MS + HORIZON_MS} <= frontier_ms AS late,
    CASE WHEN late THEN greatest(whole_start_ms, end_ms - {HORIZON_MS}) ELSE clipped_ms END AS start_ms"""
_KEY: Final = {
    Items.APPLICATIONS: "application",
    Items.HOSTS: "CASE WHEN at_source THEN src_addr ELSE dst_addr END AS host",
    Items.CONVERSATIONS: """location, protocol,
        CASE WHEN src_addr IS NULL OR dst_addr IS NULL THEN NULL ELSE least(src_addr, dst_addr) END AS lower_address,
        greatest(src_addr, dst_addr) AS upper_address, application""",
    Items.INTERFACES: "location, exporter_addr AS exporter, interface",
    Items.EXPORTERS: "location, exporter_addr AS exporter",
}
_ENDS: Final = ("src_addr", "dst_addr")
_NEEDS: Final[Mapping[Ranked | None, tuple[str, ...]]] = {
    Items.APPLICATIONS: ("application",),
    Items.HOSTS: _ENDS,
    Items.CONVERSATIONS: (*_ENDS, "protocol", "application"),
}


def columns_of(items: Ranked | None) -> tuple[str, ...]:
    """Columns beyond exporter and interfaces that an item's key is made of."""
    return items.columns if isinstance(items, Values) else _NEEDS.get(items, ())


def _key(items: Ranked) -> str:
    if not isinstance(items, Values):
        return _KEY[items]
    texts = [
        f"rtrim(regexp_replace(lower(hex({name})), '(..)', '\\1:', 'g'), ':')" if name.endswith("_mac") else f"{name}::VARCHAR"
        for name in items.columns
    ]
    return f"{texts[0]} AS item" if len(texts) == 1 else f"CASE WHEN at_source THEN {texts[0]} ELSE {texts[1]} END AS item"


def flows_table(paths: Sequence[str], filters: Filters) -> Statement:
    """A view `flows` of the rows of one exporter, or of all, each with its interval [start_ms, end_ms]."""
    source = "no_flows"
    if paths:
        source = f"(SELECT * FROM read_parquet({listed(paths)}, union_by_name = true) UNION ALL BY NAME SELECT * FROM no_flows)"
    exporter = "" if filters.exporter is None else f"WHERE exporter_addr = {quoted(filters.exporter)}"
    return Statement(f"CREATE OR REPLACE TEMP VIEW flows AS SELECT *, {_INTERVAL} FROM {source} {exporter}")


def traffic(filters: Filters) -> tuple[str, dict[str, str]]:
    """The condition that flows of a selection meet, beyond exporter and interface."""
    conditions, values = where(
        ("application = {}", "application", filters.application or None),
        ("(src_addr = {0} OR dst_addr = {0})", "host", filters.host),
        ("location = {}", "location", filters.location),
    )
    if filters.application == NO_APPLICATION:
        conditions = " AND ".join(filter(None, (conditions, "application IS NULL")))
    return conditions or "TRUE", {name: str(value) for name, value in values.items()}


def raw_tables(
    paths: Sequence[str], items: Ranked | None, span: Span, filters: Filters, step_ms: int | None, both_sides: bool
) -> list[Statement]:
    """Statements that make `flows`, `items` and `groups`; `both_sides` as in the pipeline's settings."""
    by_interface = filters.interface is not None or items is Items.INTERFACES
    selected, values = traffic(filters)
    if filters.interface is not None:
        selected += f" AND interface = {filters.interface}"
    key = f", {_key(items)}" if items else ""
    needed = [
        *columns_of(items),
        *(["application"] if filters.application is not None else []),
        *(_ENDS if filters.host else ()),
    ]
    times = multiplicity_of(items) if items else 1
    ends = ", (VALUES (TRUE), (FALSE)) AS ends(at_source)" if times == 2 else ""
    sided = _interface_sides(both_sides) if by_interface else _EXPORTER_SIDES
    return [
        flows_table(paths, filters),
        Statement(
            f"""CREATE OR REPLACE TEMP TABLE items AS WITH shares AS MATERIALIZED ({_shares(span, needed)}), {sided}
            SELECT {bucket(span, step_ms)} AS bucket{key}, {_MEASURED}, 0 AS error,
                min(window_start_ms) AS first_ms, max(window_start_ms) + {WINDOW_MS} AS last_ms
            FROM sided{ends} WHERE {selected} GROUP BY ALL""",
            values,
        ),
        Statement(
            f"""CREATE OR REPLACE TEMP TABLE groups AS
            SELECT bucket, {sums(times)}, 0 AS bound,
                min(first_ms) AS first_ms, max(last_ms) AS last_ms
            FROM items GROUP BY ALL"""
        ),
    ]


def _shares(span: Span, needed: Iterable[str]) -> str:
    columns = "".join(f", {name}" for name in dict.fromkeys(needed))
    return f"""
        SELECT location, exporter_addr, coalesce(direction, {Direction.UNKNOWN}) AS direction,
            coalesce(in_if, 0) AS in_if, coalesce(out_if, 0) AS out_if{columns},
            window_start_ms, share(scaled_bytes, d, t0, t1) AS bytes, share(scaled_packets, d, t0, t1) AS packets,
            (window_start_ms = last_window AND (d = 0 OR t1 = d))::INTEGER AS flows
        FROM (
            SELECT *, end_ms - start_ms AS d, scaled(bytes, sampling_interval) AS scaled_bytes,
                scaled(packets, sampling_interval) AS scaled_packets,
                window_of(CASE WHEN d = 0 THEN end_ms ELSE end_ms - 1 END) AS last_window,
                unnest(range(
                    greatest(window_of(start_ms), {span.from_ms // WINDOW_MS * WINDOW_MS}),
                    least(last_window + {WINDOW_MS}, {span.to_ms}), {WINDOW_MS}
                )) AS window_start_ms,
                least(least(window_start_ms + {WINDOW_MS}, {span.to_ms}) - start_ms, d) AS t1,
                greatest(greatest(window_start_ms, {span.from_ms}) - start_ms, 0) AS t0
            FROM flows
            WHERE NOT (late AND end_ms <= mark_ms - {REACH_MS})
                AND start_ms < {span.to_ms} AND end_ms >= {span.from_ms}
        ) WHERE d = 0 OR t1 > t0"""


def _interface_sides(both_sides: bool) -> str:
    out = "TRUE" if both_sides else f"direction <> {Direction.INGRESS}"
    return f"""sided AS (
        SELECT *, CASE WHEN inside THEN in_if ELSE out_if END AS interface, TRUE AS counted
        FROM shares, (VALUES (TRUE), (FALSE)) AS sides(inside)
        WHERE CASE WHEN inside THEN direction <> {Direction.EGRESS} ELSE {out} END
    )"""


_EXPORTER_SIDES: Final = f"""
    exporters AS (
        SELECT location AS place, exporter_addr AS address, window_start_ms AS minute,
            bool_or(direction <> {Direction.EGRESS}) AS has_inside
        FROM shares GROUP BY ALL
    ),
    sided AS (
        SELECT shares.*, direction <> {Direction.EGRESS} AS inside, inside OR NOT has_inside AS counted
        FROM shares JOIN exporters
        ON location IS NOT DISTINCT FROM place AND exporter_addr = address AND window_start_ms = minute
    )"""
_SIDES: Final = {"ingress": "inside", "egress": "NOT inside", "total": "counted"}
_MEASURED: Final = ", ".join(
    f"coalesce(sum({name.partition('_')[0]}) FILTER ({_SIDES[name.partition('_')[2]]}), 0) AS {name}" for name in MEASURES
)
