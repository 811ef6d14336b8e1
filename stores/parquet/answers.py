"""Answers from the two tables that aggregates and raw flows are both brought to.

In: a DuckDB connection with
    items (bucket, key..., measures, error, first_ms, last_ms)   what one item had in one step
    groups (bucket, measures, bound, first_ms, last_ms)          everything in one step; `bound`: what an item may have unseen
Out: the answers of stores/contract.py. Refuses to know which source the tables came from.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from common.addresses import pack_address
from stores.contract import MEASURES, SERIES_SCHEMA, Measures, TopItem
from stores.parquet.statements import sums
from stores.questions import Items, Key, Ranked, Span, keys_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS: Final = ", ".join(MEASURES)
_RANKED: Final = """
CREATE OR REPLACE TEMP TABLE ranked AS
SELECT row_number() OVER (ORDER BY bytes_total DESC, {key_order}) - 1 AS rank, * FROM (
    SELECT {key}, {sums}, sum(error) + (SELECT coalesce(sum(bound), 0) FROM groups) AS error FROM items GROUP BY ALL
)"""
_LARGEST: Final = 2**63 - 1


def total(connection: "DuckDBPyConnection") -> Measures:
    """Sum of everything, exact."""
    return _measures(_one(connection, f"SELECT {sums()} FROM groups"))


def selected_total(connection: "DuckDBPyConnection") -> tuple[Measures, int]:
    """Sum over the items that a filter left, and its error."""
    row = _one(connection, f"SELECT {sums()}, sum(error) FROM items")
    bound = _one(connection, "SELECT coalesce(sum(bound), 0) FROM groups")[0] or 0
    return _measures(row), (row[-1] or 0) + bound


def data_span(connection: "DuckDBPyConnection") -> Span | None:
    """The first and last moment of the windows that the tables came from."""
    first, last = _one(connection, "SELECT min(first_ms), max(last_ms) FROM groups")
    return None if first is None or last is None else Span(first, last)


def rank(connection: "DuckDBPyConnection", items: Ranked, n: int) -> tuple[list[TopItem], int]:
    """The `n` largest items, ties by key; and the most that any other item can have. Leaves the table `ranked`."""
    names = _key_columns(connection, items)
    order = ", ".join(f"{name} NULLS FIRST" for name in names)
    connection.execute(_RANKED.format(key=", ".join(names), key_order=order, sums=sums()))
    rows = connection.execute(
        f"SELECT {', '.join(names)}, {_COLUMNS}, error FROM ranked WHERE rank < $n ORDER BY rank", {"n": n}
    ).fetchall()
    size = len(names)
    found = [TopItem(_key(items, row[:size]), Measures(*row[size:-1]), row[-1]) for row in rows]
    unseen = "SELECT greatest(coalesce(sum(bound), 0), (SELECT max(bytes_total + error) FROM ranked WHERE rank >= $n)) FROM groups"
    return found, int(connection.execute(unseen, {"n": n}).fetchall()[0][0] or 0)


def points_of_total(connection: "DuckDBPyConnection") -> pa.Table:
    """SERIES_SCHEMA of everything, one row per step."""
    return _points(connection, f"SELECT bucket AS start_ms, 0 AS rank, {_COLUMNS}, 0 AS error FROM groups")


def points_of_selection(connection: "DuckDBPyConnection") -> pa.Table:
    """SERIES_SCHEMA of the items that a filter left, one row per step with any traffic."""
    columns = ", ".join(f"coalesce(sum(items.{name}), 0) AS {name}" for name in MEASURES)
    return _points(
        connection,
        f"""SELECT groups.bucket AS start_ms, 0 AS rank, {columns}, coalesce(sum(error), 0) + any_value(bound) AS error
        FROM groups LEFT JOIN items USING (bucket) GROUP BY ALL""",
    )


def points_of_items(connection: "DuckDBPyConnection", items: Ranked, n: int, multiplicity: int) -> pa.Table:
    """SERIES_SCHEMA of the first `n` rows of `ranked` and of the rest, `n` + 1 rows per step."""
    same = " AND ".join(f"ranked.{name} IS NOT DISTINCT FROM items.{name}" for name in _key_columns(connection, items))
    columns = ", ".join(f"coalesce(items.{name}, 0) AS {name}" for name in MEASURES)
    rest = ", ".join(f"any_value(groups.{name}) * {multiplicity} - coalesce(sum(listed.{name}), 0) AS {name}" for name in MEASURES)
    return _points(
        connection,
        f"""WITH listed AS (
            SELECT groups.bucket AS start_ms, rank, {columns}, coalesce(items.error, 0) + bound AS error
            FROM groups CROSS JOIN ranked LEFT JOIN items ON items.bucket = groups.bucket AND {same} WHERE rank < {n}
        )
        SELECT * FROM listed UNION ALL BY NAME
        SELECT groups.bucket AS start_ms, least({n}, (SELECT count(*) FROM ranked)) AS rank, {rest}, 0 AS error
        FROM groups LEFT JOIN listed ON listed.start_ms = groups.bucket GROUP BY groups.bucket""",
    )


def _points(connection: "DuckDBPyConnection", query: str) -> pa.Table:
    columns = ", ".join(f"least({name}, {_LARGEST})::BIGINT AS {name}" for name in (*MEASURES, "error"))
    text = f"SELECT start_ms::BIGINT AS start_ms, rank::SMALLINT AS rank, {columns} FROM ({query}) ORDER BY start_ms, rank"
    points: pa.Table = connection.sql(text).to_arrow_table()
    return points.cast(SERIES_SCHEMA)


def _key_columns(connection: "DuckDBPyConnection", items: Ranked) -> tuple[str, ...]:
    packed = [row[0] for row in connection.execute("DESCRIBE items").fetchall()]
    return ("conversation_key",) if "conversation_key" in packed else keys_of(items)


def _key(items: Ranked, members: Sequence[str | int | None]) -> Key:
    if items is not Items.CONVERSATIONS:
        return tuple(members)
    location, protocol, lower, upper, application = json.loads(str(members[0])) if len(members) == 1 else members
    return location, protocol, *sorted((lower, upper), key=_octets), application


def _octets(address: str | int | None) -> bytes:
    return b"" if address is None else pack_address(str(address))


def _one(connection: "DuckDBPyConnection", query: str) -> tuple[int | None, ...]:
    return connection.execute(query).fetchall()[0]


def _measures(row: Sequence[int | None]) -> Measures:
    return Measures(*(value or 0 for value in row[: len(MEASURES)]))
