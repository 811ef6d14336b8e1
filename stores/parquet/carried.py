"""What a run hands to the manifest and what it gets back from it.

In: nothing. Out: the values of the manifest's two verbs, commit and load. Refuses to know how they are kept, and what a lane's
log, a base or a part means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from stores.parquet.layout import PendingFile
from stores.parquet.ledger_state import LedgerState
from stores.parquet.wide import WideWindow
from stores.queued import Late, Queued, Window

FIRST_MARK: Final = 0
"""`next_mark` (0, 1, 2) of a window that has parts and was never rewritten."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """What is carried of one window of one lane: its base as of the last rewrite, and the parts that came since, in order."""

    lane: int
    window_start_ms: int
    next_mark: int
    base: bytes | None = None
    parts: tuple[bytes, ...] = ()

    @property
    def part_bytes(self) -> int:
        """Octets of all parts."""
        return sum(map(len, self.parts))


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one run changes, in the order in which it is applied: rewritten, appended, closed.

    `positions` is the next offset per partition; `rewritten` replaces a window's mark and base and clears its parts (a
    state's own parts then follow); `appended` are parts of windows, known or new; `late` is added to the queue of repairs;
    `counters` are increments by rendered metric.
    `partials` are tables of flowpb.partials; of two of one lane and window the one with more rows stays.
    The ledgers of lanes are rewritten, then appended to, alike.
    """

    positions: Mapping[int, int] = field(default_factory=dict)
    lanes: Mapping[int, bytes] = field(default_factory=dict)
    frontiers: Mapping[int, int] = field(default_factory=dict)
    appended: Sequence[tuple[int, int, bytes]] = ()
    rewritten: Sequence[WindowState] = ()
    closed: Sequence[Window] = ()
    files: Sequence[PendingFile] = ()
    late: Mapping[Window, Late] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    final_through_ms: int | None = None
    partials: Sequence[pa.Table] = ()
    ledgers_rewritten: Sequence[LedgerState] = ()
    ledgers_appended: Sequence[tuple[int, bytes]] = ()
    wide: Sequence[WideWindow] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """What one repair changes: new `files` of documents, entries of the queue that are `done`, and such that `failed` and why.

    Of those that are `written` the lane's own documents are among the files; wider scopes wait for other lanes.
    `partials` replace those of the repaired windows, as far as these are still kept: their hours are made again.
    """

    files: Sequence[PendingFile] = ()
    done: Sequence[Queued] = ()
    failed: Sequence[Queued] = ()
    written: Sequence[Queued] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    partials: Sequence[pa.Table] = ()


@dataclass(frozen=True, slots=True)
class Carried:
    """What the last committed run left for the next one."""

    run: int
    positions: Mapping[int, int]
    lanes: Mapping[int, bytes]
    frontiers: Mapping[int, int]
    windows: tuple[WindowState, ...]
    counters: Mapping[str, int]
    final_through_ms: int | None
    ledgers: tuple[LedgerState, ...] = ()
    wide: tuple[WideWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class LevelStatus:
    """Live files of one level; the range is [min_ms, max_ms)."""

    level: str
    files: int
    rows: int
    bytes: int
    min_ms: int
    max_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """The store at a glance; `dropped` files are replaced or retired and wait for the grace of readers."""

    run: int
    final_through_ms: int | None
    levels: tuple[LevelStatus, ...]
    windows: int
    carried_bytes: int
    dropped: int
