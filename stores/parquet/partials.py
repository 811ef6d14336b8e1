"""The manifest's table of partials: rows of flowpb.partials, each with its state as a compressed blob.

In: tables of partials, inside a transaction of the manifest. Out: what is kept. Refuses to begin and end transactions, and to know
what a state holds. They lie in the manifest, so that a run commits them with everything else: 150 KB per lane and minute at 100,000
flows a second, whose space is used again once they are forgotten.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from stores.cascade import Kept, level_of, squeezed, unsqueezed

TABLE: Final = """
CREATE TABLE IF NOT EXISTS partials (
    level TEXT, window_start_ms INTEGER, lane INTEGER, rows INTEGER NOT NULL, made_of TEXT NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (level, window_start_ms, lane)
);
"""
_WRITE: Final = """
INSERT INTO partials VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET rows = excluded.rows, made_of = excluded.made_of, state = excluded.state WHERE excluded.rows >= partials.rows
"""


@dataclass(frozen=True, slots=True)
class PartialsTable:
    """The table in an open manifest; a store that no writer of this version has opened has none, and reads as empty."""

    connection: sqlite3.Connection

    def write(self, partials: pa.Table) -> None:
        """Of two partials of one lane and window the one with more rows stays."""
        level = level_of(partials)
        rows = [
            (level, r["window_start_ms"], r["lane"], r["rows"], r["made_of"], squeezed(r["state"])) for r in partials.to_pylist()
        ]
        self.connection.executemany(_WRITE, rows)

    def kept(self, level: str) -> list[Kept]:
        """Those of a level, by window and lane."""
        query = "SELECT window_start_ms, lane, rows, made_of FROM partials WHERE level = ? ORDER BY window_start_ms, lane"
        return [Kept(*row) for row in self._rows(query, level)]

    def states(self, level: str, from_ms: int, to_ms: int, lane: int) -> list[bytes]:
        """Those of a lane whose windows start in [from_ms, to_ms), in their order."""
        where = "level = ? AND window_start_ms >= ? AND window_start_ms < ? AND lane = ?"
        query = f"SELECT state FROM partials WHERE {where} ORDER BY window_start_ms"
        return [unsqueezed(row[0]) for row in self._rows(query, level, from_ms, to_ms, lane)]

    def of_window(self, level: str, window_start_ms: int) -> dict[int, bytes]:
        """The states of a window by lane."""
        query = "SELECT lane, state FROM partials WHERE level = ? AND window_start_ms = ? ORDER BY lane"
        return {lane: unsqueezed(state) for lane, state in self._rows(query, level, window_start_ms)}

    def forget(self, level: str, before_ms: int) -> int:
        """Deletes those whose windows start before; returns how many."""
        return self.connection.execute("DELETE FROM partials WHERE level = ? AND window_start_ms < ?", (level, before_ms)).rowcount

    def bytes(self) -> int:
        """Octets of all states."""
        rows = self._rows("SELECT coalesce(sum(length(state)), 0) FROM partials")
        return rows[0][0] if rows else 0

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        if not self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'partials'").fetchall():
            return []
        return self.connection.execute(query, values).fetchall()
