"""The tables of several pieces of a range as those of the whole.

In: a DuckDB connection with the tables `items` and `groups` of one piece after the other (stores/parquet/answers.py). Out: the same
two tables of all pieces, one row per step and key. Refuses to know where the pieces came from. Errors and bounds add up like sums.
"""

import json
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from common.addresses import pack_address
from stores.contract import MEASURES
from stores.questions import KEYS, Items, Ranked

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEY: Final = KEYS[Items.CONVERSATIONS]
_ADDED: Final = ("bucket", *MEASURES, "error", "bound", "first_ms", "last_ms")


def add(connection: "DuckDBPyConnection", items: Ranked | None, first: bool, bucket: int | None) -> None:
    """Keeps the tables of a piece; `bucket` is the one step of a question without steps; the `first` piece begins a question."""
    if items is Items.CONVERSATIONS and "conversation_key" not in _columns(connection, "items"):
        _spell_conversations(connection)
    chosen = "*" if bucket is None else f"* REPLACE ({bucket} AS bucket)"
    for name in ("items", "groups"):
        if first:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE all_{name} AS SELECT {chosen} FROM {name}")
        else:
            connection.execute(f"INSERT INTO all_{name} BY NAME SELECT {chosen} FROM {name}")


def put_together(connection: "DuckDBPyConnection") -> None:
    """Makes `items` and `groups` of what was kept."""
    for name in ("items", "groups"):
        columns = _columns(connection, f"all_{name}")
        own = [column for column in columns if column not in _ADDED]
        sums = [f"sum({column}) AS {column}" for column in columns if column in (*MEASURES, "error", "bound")]
        values = ", ".join(["bucket", *own, *sums, "min(first_ms) AS first_ms", "max(last_ms) AS last_ms"])
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {values} FROM all_{name} GROUP BY ALL")
        connection.execute(f"DROP TABLE all_{name}")


def _columns(connection: "DuckDBPyConnection", table: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]


def _spell_conversations(connection: "DuckDBPyConnection") -> None:
    """The members of conversations as the key that documents have (docs/explanation/numbers.md 6)."""
    names = ", ".join(_KEY)
    rows = connection.execute(f"SELECT DISTINCT {names} FROM items").fetchall()
    keys = [_spelled(row) for row in rows]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(_KEY)}
    types = {"protocol": pa.uint8()}
    arrays = {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    connection.register("spelled", pa.table({**arrays, "conversation_key": pa.array(keys, pa.string())}))
    same = " AND ".join(f"items.{name} IS NOT DISTINCT FROM spelled.{name}" for name in _KEY)
    query = f"SELECT items.* EXCLUDE ({names}), conversation_key FROM items JOIN spelled ON {same}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE items AS {query}")
    connection.unregister("spelled")


def _spelled(row: tuple[str | int | None, ...]) -> str:
    location, protocol, lower, upper, application = row
    ends = sorted((lower, upper), key=lambda end: b"" if end is None else pack_address(str(end)))
    return json.dumps([location, protocol, *ends, application], separators=(",", ":"), ensure_ascii=False)
