"""The ledger of a lane, as those use it who carry its state: batches to parts, parts to a base, a base to rows of minutes.

In: batches that the lane's log accepted, with their reports, and what lay-out did to their flows. Out: bytes that may cross stages
and sit in any state, and tables of LEDGER. Bundling and order do not matter; what was read twice is no concern here, since a lane's
log drops repeats before. Refuses to know stores, runners and clocks.

A row belongs to the minute of its batch's mark. Where that minute may be closed already (an outage drained from a spool), the batch
is booked in the frontier's minute: an open minute only grows, a closed one never changes (docs/explanation/numbers.md, The ledger).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints, Mask
from columns.judged import Judged
from columns.ledger_entries import BatchReports, rows_of_judged, rows_of_reports
from columns.ledger_rows import NOBODY, Rows, merged
from columns.ledger_table import table_of
from columns.packing import pack_arrays, unpack_arrays
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS, WINDOW_MS
from flowpb.ledger import MARK_DELAY_MS

__all__ = ["BatchReports", "absorb_ledger", "emit_ledger", "next_mark_ms", "part_of_judged", "part_of_reports"]

EXPORTERS: Final = 4_096
"""Exporters of a lane and minute that are kept apart; what comes of others joins the row of nobody."""
_MAGIC: Final = b"NLB1"
_KEPT_MS: Final = WINDOW_MS + HORIZON_MS + FINAL_DELAY_MS


def part_of_reports(batches: Sequence[BatchReports]) -> bytes:
    """What batches of one lane report."""
    return merged([rows_of_reports(batches)]).pack()


def part_of_judged(judged: Judged, batches: Sequence[tuple[int, int]]) -> bytes:
    """What became of the flows of batches of one lane; `batches` are (mark, frontier) by the numbers in `judged`."""
    return merged([rows_of_judged(judged, batches)]).pack()


def absorb_ledger(base: bytes | None, parts: Sequence[bytes]) -> bytes:
    """The base with more parts in it."""
    rows, written = _unpack(base)
    total = merged([rows, *map(Rows.unpack, parts)])
    return _pack(*_bounded(total, _written_of(total, rows, written)))


def emit_ledger(base: bytes, lane: int, now_ms: int) -> tuple[bytes | None, pa.Table]:
    """The base afterwards, None when nothing is left of it, and the rows that grew of minutes that are over at `now_ms`.

    Rows stay for as long as batches may be booked in their minute; meanwhile they also tell an exporter's means.
    """
    rows, written = _unpack(base)
    end_ms = (rows.booked + 1) * WINDOW_MS
    due = (end_ms + MARK_DELAY_MS <= now_ms) & (rows["version"] > written)
    table = table_of(rows, due, lane)
    kept = rows.booked * WINDOW_MS + _KEPT_MS > now_ms
    if not kept.any():
        return None, table
    return _pack(rows.take(kept), np.where(due, rows["version"], written)[kept]), table


def next_mark_ms(now_ms: int) -> int:
    """The next time after `now_ms` at which a minute falls due."""
    return (now_ms - MARK_DELAY_MS) // WINDOW_MS * WINDOW_MS + WINDOW_MS + MARK_DELAY_MS


def _bounded(rows: Rows, written: Ints) -> tuple[Rows, Ints]:
    """Exporters beyond the bound as nobody; those that were written stay, else the ones with the most flows."""
    if len(rows) <= EXPORTERS:
        return rows, written
    order = np.lexsort((np.arange(len(rows)), -rows["flows_received"], written == 0, rows.booked))
    booked = rows.booked[order]
    place = np.arange(len(rows)) - np.searchsorted(booked, booked)
    beyond: Mask = np.zeros(len(rows), np.bool_)
    beyond[order] = place >= EXPORTERS
    beyond &= written == 0
    if not beyond.any():
        return rows, written
    exporter = np.where(beyond[:, None], np.array(NOBODY, np.uint64), rows.exporter)
    folded = merged([Rows(rows.booked, rows.minute, exporter, rows.values)])
    return folded, _written_of(folded, rows, written)


def _written_of(rows: Rows, known: Rows, written: Ints) -> Ints:
    """The version at which each row was last written, 0 for never."""
    found = {key: version for key, version in zip(_keys(known), written.tolist(), strict=True) if version}
    return np.array([found.get(key, 0) for key in _keys(rows)] if found else [0] * len(rows), np.int64)


def _keys(rows: Rows) -> list[tuple[int, ...]]:
    columns = (rows.booked, rows.minute, rows.exporter[:, 0], rows.exporter[:, 1])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _pack(rows: Rows, written: Ints) -> bytes:
    return pack_arrays(_MAGIC, [written, np.frombuffer(rows.pack(), np.uint8)])


def _unpack(base: bytes | None) -> tuple[Rows, Ints]:
    if base is None:
        return rows_of_reports([]), np.empty(0, np.int64)
    written, octets = unpack_arrays(_MAGIC, base)
    return Rows.unpack(octets.tobytes()), written.astype(np.int64)
