"""The manifest's tables of what the lanes have contributed to windows of location and system scope that are still open.

In: what a run changed, inside a transaction of the manifest. Out: everything, for the next run. Refuses to begin and end
transactions, and to know what a contribution is.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS wide_windows (
        window_start_ms INTEGER PRIMARY KEY, next_mark INTEGER NOT NULL, fresh INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS contributions (
        window_start_ms INTEGER, lane INTEGER, contribution BLOB NOT NULL, PRIMARY KEY (window_start_ms, lane)
    )""",
)


@dataclass(frozen=True, slots=True)
class WideWindow:
    """A window's next mark (0, 1, 2), whether anything came since its last documents, and contributions by lane.

    In a commit they are those that are new, and `closed` ends the window.
    """

    window_start_ms: int
    next_mark: int
    fresh: bool
    contributions: Mapping[int, bytes] = field(default_factory=dict)
    closed: bool = False


def write(connection: sqlite3.Connection, windows: Sequence[WideWindow]) -> None:
    """What one run changed."""
    ended = [(window.window_start_ms,) for window in windows if window.closed]
    kept = [window for window in windows if not window.closed]
    connection.executemany(
        "INSERT OR REPLACE INTO wide_windows VALUES (?, ?, ?)", [(w.window_start_ms, w.next_mark, w.fresh) for w in kept]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO contributions VALUES (?, ?, ?)",
        [(window.window_start_ms, lane, value) for window in kept for lane, value in window.contributions.items()],
    )
    connection.executemany("DELETE FROM wide_windows WHERE window_start_ms = ?", ended)
    connection.executemany("DELETE FROM contributions WHERE window_start_ms = ?", ended)


def read(connection: sqlite3.Connection) -> tuple[WideWindow, ...]:
    """All open windows; none in a store that no writer of this version has opened."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'wide_windows'").fetchall():
        return ()
    contributions: dict[int, dict[int, bytes]] = {}
    for start, lane, value in connection.execute("SELECT window_start_ms, lane, contribution FROM contributions"):
        contributions.setdefault(start, {})[lane] = value
    rows = connection.execute("SELECT window_start_ms, next_mark, fresh FROM wide_windows ORDER BY window_start_ms").fetchall()
    return tuple(WideWindow(start, mark, bool(fresh), contributions.get(start, {})) for start, mark, fresh in rows)
