"""What the manifest carries of the ledger of each lane: its base, and parts that came since.

In: steps of a run. Out: two tables of the manifest, written in the run's own transaction. Refuses to know what a part means.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TABLES: Final = """
CREATE TABLE IF NOT EXISTS ledgers (lane INTEGER PRIMARY KEY, next_mark_ms INTEGER NOT NULL, base BLOB);
CREATE TABLE IF NOT EXISTS ledger_parts (id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, part BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ledger_parts_of_lane ON ledger_parts (lane);
"""
"""A store of a version without a ledger gets them with its next writer."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The ledger of one lane as of its last rewrite, and the parts that came since, in order."""

    lane: int
    next_mark_ms: int
    base: bytes | None = None
    parts: tuple[bytes, ...] = ()


def write_ledgers(connection: sqlite3.Connection, rewritten: Sequence[LedgerState], appended: Sequence[tuple[int, bytes]]) -> None:
    """A rewritten ledger replaces base and parts, without a base it ends; `appended` are (lane, part)."""
    lanes = [(state.lane,) for state in rewritten]
    connection.executemany("DELETE FROM ledger_parts WHERE lane = ?", lanes)
    connection.executemany("DELETE FROM ledgers WHERE lane = ?", lanes)
    connection.executemany(
        "INSERT INTO ledgers VALUES (?, ?, ?)",
        [(state.lane, state.next_mark_ms, state.base) for state in rewritten if state.base is not None],
    )
    connection.executemany("INSERT INTO ledger_parts (lane, part) VALUES (?, ?)", appended)


def load_ledgers(connection: sqlite3.Connection) -> tuple[LedgerState, ...]:
    """All lanes' ledgers."""
    parts: dict[int, list[bytes]] = {}
    for lane, part in connection.execute("SELECT lane, part FROM ledger_parts ORDER BY id"):
        parts.setdefault(lane, []).append(part)
    bases = {lane: (mark, base) for lane, mark, base in connection.execute("SELECT lane, next_mark_ms, base FROM ledgers")}
    return tuple(LedgerState(lane, *bases.get(lane, (0, None)), tuple(parts.get(lane, ()))) for lane in sorted({*parts, *bases}))
