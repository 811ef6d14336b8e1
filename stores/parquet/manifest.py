"""The manifest: one SQLite file that says which run was the last, what is carried to the next, and which files count.

In: one Commit per run of the pipeline, and merges and retirements of files. Out: what the next run carries on from, and the list
of live files for readers. Refuses to know what is in a file, a part or a lane's log.

Protocol. Files are written whole and synced in pending/; one transaction records them together with positions, lanes and
carried windows; then they are renamed to their last place. A writer that starts finishes the renames of files in the manifest
and deletes everything else in pending/. So a crash before the COMMIT repeats the run, and a crash after it has lost nothing.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from common.errors import StoreError
from stores.parquet import ledger_state, queue, wide
from stores.parquet.carried import FIRST_MARK, Carried, Commit, LevelStatus, Repair, Status, WindowState
from stores.parquet.layout import Kind, LiveFile, PendingFile, manifest_path, pending_path, placed_path, sync
from stores.parquet.ledger_state import load_ledgers, write_ledgers
from stores.parquet.lock import WriterLock
from stores.parquet.partials import TABLE as _PARTIALS
from stores.parquet.partials import PartialsTable
from stores.queued import Queued, Window

__all__ = ["Carried", "Commit", "LevelStatus", "Manifest", "PendingFile", "Status", "Step", "WindowState"]

_VERSION: Final = 1
_BUSY_S: Final = 30.0
_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
CREATE TABLE positions (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
CREATE TABLE lanes (lane INTEGER PRIMARY KEY, log BLOB, frontier_ms INTEGER);
CREATE TABLE windows (
    lane INTEGER, window_start_ms INTEGER, next_mark INTEGER NOT NULL, base BLOB, PRIMARY KEY (lane, window_start_ms)
);
CREATE TABLE parts (id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, window_start_ms INTEGER NOT NULL, part BLOB NOT NULL);
CREATE INDEX parts_of_window ON parts (lane, window_start_ms);
CREATE TABLE counters (name TEXT PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, level TEXT NOT NULL, stage INTEGER NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, min_ms INTEGER NOT NULL, max_ms INTEGER NOT NULL, dropped_ms INTEGER
);
CREATE INDEX live_files ON files (level, max_ms) WHERE dropped_ms IS NULL;
"""

Step = Callable[[str], None]
"""Called with the name of each step of a transaction after it is done; for tests that kill the process there."""


def _nothing(_: str) -> None: ...


class Manifest:
    """An open manifest: the one writer of a data folder, or one of many readers. Use from one thread at a time."""

    def __init__(self, data_dir: Path, connection: sqlite3.Connection, lock: WriterLock | None, step: Step) -> None:
        self.data_dir = data_dir
        self._connection = connection
        self._partials = PartialsTable(connection)
        self._lock = lock
        self._step = step

    @classmethod
    def open(cls, data_dir: Path, writer: bool, step: Step = _nothing) -> Self:
        """Open for reading, or create and lock for writing; raises StoreError, for a second writer with the pid of the first."""
        path = manifest_path(data_dir)
        if not writer and not path.exists():
            raise no_data(data_dir)
        lock = _prepare(data_dir) if writer else None
        try:
            manifest = cls(data_dir, _connect(path, writer), lock, step)
            if writer:
                manifest._recover()
        except BaseException:
            if lock:
                lock.release()
            raise
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and, as a writer, of the lock."""
        self._connection.close()
        if self._lock:
            self._lock.release()
            self._lock = None

    @property
    def pending_dir(self) -> Path:
        """Where files wait, written whole, for their commit."""
        return pending_path(self.data_dir)

    def load(self) -> Carried:
        """What the next run carries on from, as of one moment."""
        with self._reading():
            parts: dict[Window, list[bytes]] = {}
            for lane, start, part in self._rows("SELECT lane, window_start_ms, part FROM parts ORDER BY id"):
                parts.setdefault((lane, start), []).append(part)
            windows = self._rows("SELECT lane, window_start_ms, next_mark, base FROM windows ORDER BY lane, window_start_ms")
            return Carried(
                run=self._meta("run") or 0,
                positions=dict(self._rows("SELECT partition, next_offset FROM positions")),
                lanes=dict(self._rows("SELECT lane, log FROM lanes WHERE log IS NOT NULL")),
                frontiers=self.frontiers(),
                windows=tuple(WindowState(w[0], w[1], w[2], w[3], tuple(parts.get((w[0], w[1]), ()))) for w in windows),
                counters=self.counters(),
                final_through_ms=self._meta("final_through_ms"),
                ledgers=load_ledgers(self._connection),
                wide=wide.read(self._connection),
            )

    def counters(self) -> dict[str, int]:
        """Totals of all runs by rendered metric."""
        return dict(self._rows("SELECT name, total FROM counters"))

    def frontiers(self) -> dict[int, int]:
        """Frontier of each lane that has one."""
        return dict(self._rows("SELECT lane, frontier_ms FROM lanes WHERE frontier_ms IS NOT NULL"))

    def commit(self, commit: Commit) -> int:
        """Make one run lasting, all or nothing, and put its files in their place. Returns the number of the run."""
        for file in commit.files:
            if not pending_path(self.data_dir, file.name).exists():
                raise StoreError(f"{pending_path(self.data_dir, file.name)}: not there, so it cannot be committed")
        with self._writing():
            run = (self._meta("run") or 0) + 1
            self._set_meta("run", run)
            self._write_positions(commit)
            self._write_windows(commit)
            self._insert_files(commit.files, stage=0)
            queue.add(self._connection, commit.late)
            for partials in commit.partials:
                self._partials.write(partials)
            write_ledgers(self._connection, commit.ledgers_rewritten, commit.ledgers_appended)
            wide.write(self._connection, commit.wide)
            if commit.final_through_ms is not None:
                self._set_meta("final_through_ms", commit.final_through_ms)
        self._place(commit.files)
        return run

    def repair(self, repair: Repair) -> None:
        """Make a repair lasting, all or nothing: its files count, and what they make good leaves the queue."""
        with self._writing():
            queue.take_out(self._connection, repair.done)
            queue.note(self._connection, repair.failed)
            queue.note_written(self._connection, repair.written)
            self._insert_files(repair.files, stage=0)
            for partials in repair.partials:
                self._partials.write(partials)
            self._add_counters(repair.counters)
        self._place(repair.files)

    def queue(self) -> list[Queued]:
        """The queue of repairs, oldest windows first."""
        with _translated(self.data_dir):
            return queue.entries(self._connection)

    def count(self, counters: Mapping[str, int]) -> None:
        """Add to the counters, in a transaction of its own."""
        with self._writing():
            self._add_counters(counters)

    def put_rollup(self, partials: pa.Table, files: Sequence[PendingFile]) -> None:
        """Keep the partials and the files of documents of a longer window, all or nothing."""
        with self._writing():
            self._partials.write(partials)
            self._insert_files(files, stage=0)
        self._place(files)

    def forget_partials(self, level: str, before_ms: int) -> int:
        """Delete partials of windows that start before; returns how many. Their space is used again."""
        with self._writing():
            return self._partials.forget(level, before_ms)

    @contextmanager
    def partials(self) -> Iterator[PartialsTable]:
        """What is kept for longer windows, for reading."""
        with _translated(self.data_dir):
            yield self._partials

    def replace(self, dropped: Sequence[str], added: Sequence[PendingFile], stage: int, now_ms: int) -> None:
        """Exchange live files for merged ones (or for none) in one transaction; the dropped ones stay on disk until `sweep`."""
        with self._writing():
            self._many(
                "UPDATE files SET dropped_ms = ? WHERE name = ? AND dropped_ms IS NULL", [(now_ms, name) for name in dropped]
            )
            self._insert_files(added, stage)
        self._place(added)

    def sweep(self, before_ms: int) -> int:
        """Delete files that were dropped before `before_ms`; returns how many. A crash in between repeats harmlessly."""
        query = "SELECT level, name, max_ms FROM files WHERE dropped_ms < ?"
        gone = self._rows(query, before_ms)
        for level, name, max_ms in gone:
            path = placed_path(self.data_dir, level, name, max_ms)
            with _translated(self.data_dir):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
        if gone:
            self._step("unlinked")
            with self._writing():
                self._many("DELETE FROM files WHERE name = ?", [(name,) for _, name, _ in gone])
        return len(gone)

    def files(self, kind: Kind, level: str, from_ms: int, to_ms: int) -> list[LiveFile]:
        """Live files with rows in [from_ms, to_ms), oldest first."""
        rows = self._rows(
            "SELECT kind, level, name, rows, bytes, min_ms, max_ms, stage FROM files"
            " WHERE dropped_ms IS NULL AND kind = ? AND level = ? AND max_ms > ? AND min_ms < ? ORDER BY min_ms, max_ms, name",
            *(kind, level, from_ms, to_ms),
        )
        return [LiveFile(*row) for row in rows]

    def final_through(self) -> int | None:
        """Windows that end at or before this are final; None before the first is."""
        return self._meta("final_through_ms")

    def status(self) -> Status:
        """Counts over everything that the manifest knows."""
        with self._reading():
            levels = self._rows(
                "SELECT level, count(*), sum(rows), sum(bytes), min(min_ms), max(max_ms) FROM files"
                " WHERE dropped_ms IS NULL GROUP BY level ORDER BY level"
            )
            bases, base_bytes = self._rows("SELECT count(*), coalesce(sum(length(base)), 0) FROM windows")[0]
            return Status(
                run=self._meta("run") or 0,
                final_through_ms=self.final_through(),
                levels=tuple(LevelStatus(*row) for row in levels),
                windows=bases,
                carried_bytes=base_bytes + self._rows("SELECT coalesce(sum(length(part)), 0) FROM parts")[0][0],
                dropped=self._rows("SELECT count(*) FROM files WHERE dropped_ms IS NOT NULL")[0][0],
            )

    def _write_positions(self, commit: Commit) -> None:
        self._many("INSERT OR REPLACE INTO positions VALUES (?, ?)", commit.positions.items())
        self._many(
            "INSERT INTO lanes (lane, log) VALUES (?, ?) ON CONFLICT (lane) DO UPDATE SET log = excluded.log",
            commit.lanes.items(),
        )
        self._many(
            "INSERT INTO lanes (lane, frontier_ms) VALUES (?, ?)"
            " ON CONFLICT (lane) DO UPDATE SET frontier_ms = excluded.frontier_ms",
            commit.frontiers.items(),
        )
        self._add_counters(commit.counters)

    def _add_counters(self, counters: Mapping[str, int]) -> None:
        self._many(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET total = total + excluded.total", counters.items()
        )

    def _write_windows(self, commit: Commit) -> None:
        replaced = [(state.lane, state.window_start_ms) for state in commit.rewritten]
        self._many("DELETE FROM parts WHERE lane = ? AND window_start_ms = ?", replaced)
        self._many(
            "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)",
            [(state.lane, state.window_start_ms, state.next_mark, state.base) for state in commit.rewritten],
        )
        kept = [(state.lane, state.window_start_ms, part) for state in commit.rewritten for part in state.parts]
        appended = [*kept, *commit.appended]
        self._many(
            f"INSERT OR IGNORE INTO windows VALUES (?, ?, {FIRST_MARK}, NULL)", [(lane, start) for lane, start, _ in appended]
        )
        self._many("INSERT INTO parts (lane, window_start_ms, part) VALUES (?, ?, ?)", appended)
        self._many("DELETE FROM parts WHERE lane = ? AND window_start_ms = ?", commit.closed)
        self._many("DELETE FROM windows WHERE lane = ? AND window_start_ms = ?", commit.closed)

    def _insert_files(self, files: Sequence[PendingFile], stage: int) -> None:
        self._many(
            "INSERT INTO files (name, kind, level, stage, rows, bytes, min_ms, max_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(f.name, f.kind, f.level, stage, f.rows, f.bytes, f.min_ms, f.max_ms) for f in files],
        )

    def _place(self, files: Iterable[PendingFile | LiveFile]) -> None:
        for file in files:
            target = placed_path(self.data_dir, file.level, file.name, file.max_ms)
            with _translated(self.data_dir):
                if not target.parent.exists():
                    target.parent.mkdir(parents=True)
                    sync(target.parent.parent)
                pending_path(self.data_dir, file.name).rename(target)
            self._step("placed")

    def _recover(self) -> None:
        """Finish what a killed writer left: rename what was committed, delete what was not."""
        known = {
            row[2]: LiveFile(*row) for row in self._rows("SELECT kind, level, name, rows, bytes, min_ms, max_ms, stage FROM files")
        }
        with _translated(self.data_dir):
            for path in sorted(pending_path(self.data_dir).iterdir()):
                if path.name in known:
                    self._place([known[path.name]])
                else:
                    path.unlink()

    def _meta(self, key: str) -> int | None:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def _set_meta(self, key: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with _translated(self.data_dir):
            return self._connection.execute(query, values).fetchall()

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(statement, rows)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with _translated(self.data_dir):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._lock is None:
            raise StoreError(f"{self.data_dir}: opened for reading only")
        self._step("begin")
        with _translated(self.data_dir):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._step("recorded")
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        self._step("committed")


def no_data(data_dir: Path) -> StoreError:
    """What to raise where nothing was ever written."""
    return StoreError(f"{data_dir}: no data here yet; name the folder with --data-dir, or start `nephrite up`")


def _prepare(data_dir: Path) -> WriterLock:
    try:
        pending_path(data_dir).mkdir(parents=True, exist_ok=True)
        return WriterLock(data_dir)
    except OSError as error:
        raise StoreError(f"{data_dir}: cannot be written: {error.strerror}") from error


def _connect(path: Path, writer: bool) -> sqlite3.Connection:
    with _translated(path.parent):
        mode = "rwc" if writer else "rw"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection, writer)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except BaseException:
            connection.close()
            raise
    if version != _VERSION:
        connection.close()
        if not version:
            raise no_data(path.parent)
        raise StoreError(f"{path}: manifest version {version}, this program reads {_VERSION}")
    return connection


def _set_up(connection: sqlite3.Connection, writer: bool) -> None:
    if not writer:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
    queue.set_up(connection)
    for table in (_PARTIALS, *wide.TABLES):
        connection.execute(table)
    connection.executescript(ledger_state.TABLES)


@contextmanager
def _translated(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{manifest_path(data_dir)}: {error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or data_dir}: {error.strerror or error}") from error
