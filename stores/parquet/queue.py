"""The queue of repairs inside the manifest: which windows miss flows that came too late, and how many.

In: what runs note, and what repairs have made good. Out: the entries that are left. Refuses to open transactions of its own: it
adds to the manifest's, so that an entry is counted exactly once and gone exactly when its documents are there.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from stores.queued import Late, Queued, Window

TABLE: Final = """
CREATE TABLE IF NOT EXISTS repairs (
    lane INTEGER, window_start_ms INTEGER, flows INTEGER NOT NULL, shares INTEGER NOT NULL, frontier_ms INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, problem TEXT NOT NULL DEFAULT '', written INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (lane, window_start_ms)
) WITHOUT ROWID;
"""
_WRITTEN: Final = "ALTER TABLE repairs ADD COLUMN written INTEGER NOT NULL DEFAULT 0"
_COLUMNS: Final = "lane, window_start_ms, flows, shares, frontier_ms, last_offset"


def set_up(connection: sqlite3.Connection) -> None:
    """The table, also in a manifest whose queue did not know what is written."""
    connection.execute(TABLE)
    if "written" not in _columns(connection):
        connection.execute(_WRITTEN)


def add(connection: sqlite3.Connection, late: Mapping[Window, Late]) -> None:
    """Enters what windows miss; what came since an attempt failed is a reason for another one."""
    connection.executemany(
        f"INSERT INTO repairs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (lane, window_start_ms) DO UPDATE SET"
        " flows = flows + excluded.flows, shares = shares + excluded.shares, frontier_ms = max(frontier_ms, excluded.frontier_ms),"
        " last_offset = max(last_offset, excluded.last_offset), problem = ''",
        [(*window, late_.flows, late_.shares, late_.frontier_ms, late_.offset) for window, late_ in late.items()],
    )


def entries(connection: sqlite3.Connection) -> list[Queued]:
    """All entries, oldest windows first; none in a manifest from before there was a queue."""
    known = _columns(connection)
    if not known:
        return []
    written = "written" if "written" in known else "0"
    rows = connection.execute(f"SELECT {_COLUMNS}, problem, {written} FROM repairs ORDER BY window_start_ms, lane").fetchall()
    return [Queued(row[0], row[1], Late(*row[2:6]), *row[6:]) for row in rows]


def take_out(connection: sqlite3.Connection, done: Iterable[Queued]) -> None:
    """Removes what was repaired; what came to the same windows since then stays."""
    rows = [(entry.late.flows, entry.late.shares, entry.lane, entry.window_start_ms) for entry in done]
    connection.executemany(
        "UPDATE repairs SET flows = flows - ?, shares = shares - ?, written = 0 WHERE lane = ? AND window_start_ms = ?", rows
    )
    connection.execute("DELETE FROM repairs WHERE shares <= 0")


def note(connection: sqlite3.Connection, failed: Iterable[Queued]) -> None:
    """Records why entries could not be repaired."""
    connection.executemany(
        "UPDATE repairs SET problem = ? WHERE lane = ? AND window_start_ms = ?",
        [(entry.problem, entry.lane, entry.window_start_ms) for entry in failed],
    )


def note_written(connection: sqlite3.Connection, written: Iterable[Queued]) -> None:
    """Records that the lane's own documents have what the entries say, and only wider scopes wait."""
    connection.executemany(
        "UPDATE repairs SET written = ?, problem = '' WHERE lane = ? AND window_start_ms = ?",
        [(entry.late.shares, entry.lane, entry.window_start_ms) for entry in written],
    )


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("PRAGMA table_info(repairs)").fetchall()}
