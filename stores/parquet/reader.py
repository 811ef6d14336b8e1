"""The reading end of the embedded store: stores.contract.Store over Parquet files, through DuckDB.

In: questions. Out: answers from the files that the manifest lists at that moment. Refuses to look into folders: a file that is not
in the manifest does not exist. It works beside a running writer; a file that a merge replaced and swept between listing and
reading is a reason to list again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import duckdb
import pyarrow as pa

from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import WIDE, Scope
from flowpb.ledger import LEDGER_SCHEMA, LEVEL_LEDGER
from stores.answering import Answer, Answering
from stores.contract import DERIVED, FLOWS_SCHEMA, LEDGER_ANSWER, Flows, Ledger, Provenance
from stores.parquet.aggregates import DocumentFiles, aggregate_tables, kept_at, scope_of, windows_of
from stores.parquet.layout import RAW_LEVEL, LiveFile, find_file
from stores.parquet.ledger import ledger_range, ledger_sums, ledger_table
from stores.parquet.manifest import Manifest
from stores.parquet.raw import MACROS, flows_table, raw_tables, traffic
from stores.parquet.rows import RAW_SCHEMA
from stores.parquet.statements import QUIET, Statement
from stores.questions import Filters, FlowsQuery, Key, LedgerQuery, Piece, Ranked, Source, Span

_ATTEMPTS: Final = 5
_ORDER: Final = {
    "newest": "end_ms DESC, id",
    "oldest": "start_ms, id",
    "largest": "scaled(bytes, sampling_interval) DESC, id",
}
_FLOW_COLUMNS: Final = {
    "id": "concat_ws('-', collector, epoch, lane, seq, row)",
    "exporter": "exporter_addr",
    "sampling_interval": "CASE WHEN isfinite(sampling_interval) THEN sampling_interval END",
}


class _GoneError(Exception):
    """A listed file is not there any more."""


class ParquetStore(Answering):
    """A store opened for reading. Not thread-safe; open one per thread."""

    def __init__(self, manifest: Manifest, connection: duckdb.DuckDBPyConnection, both_sides: bool) -> None:
        super().__init__(connection)
        self._manifest = manifest
        self._both_sides = both_sides

    @classmethod
    def open(cls, data_dir: Path, both_sides: bool = False) -> Self:
        """Open what the manifest of `data_dir` lists; `both_sides` as in the pipeline's settings. Raises StoreError."""
        if set("*?[") & set(str(data_dir.absolute())):
            raise StoreError(f"{data_dir}: a folder with *, ? or [ in its path cannot be read; move it")
        return cls(Manifest.open(data_dir, writer=False), connect(), both_sides)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and connections."""
        self._connection.close()
        self._manifest.close()

    def extent(self, source: Source) -> Span | None:
        """The range that has data of a source; None when it has none."""
        levels = {level.level: Span(level.min_ms, level.max_ms) for level in self._manifest.status().levels}
        return levels.get(source)

    def flows(self, query: FlowsQuery) -> Flows:
        """Raw flows whose interval [start, end] touches the span."""

        def ask() -> Flows:
            self._view_flows(query.span, query.filters)
            condition, values = traffic(query.filters)
            condition += f" AND start_ms < {query.span.to_ms} AND end_ms >= {query.span.from_ms}"
            if query.filters.interface is not None:
                condition += f" AND {query.filters.interface} IN (in_if, out_if)"
            columns = ", ".join(f"{(_FLOW_COLUMNS | DERIVED).get(name, name)} AS {name}" for name in FLOWS_SCHEMA.names)
            text = f"SELECT {columns} FROM flows WHERE {condition} ORDER BY {_ORDER[query.order]} LIMIT {query.limit}"
            rows: pa.Table = self._connection.sql(text, params=values).to_arrow_table()
            counted = self._connection.execute(
                f"SELECT count(*), min(start_ms), max(end_ms) + 1 FROM flows WHERE {condition}", values
            ).fetchall()[0]
            data = Span(counted[1], counted[2]) if counted[0] else None
            return Flows(rows.cast(FLOWS_SCHEMA), counted[0], Provenance("raw", query.span, data, self._manifest.final_through()))

        return self._attempt(ask)

    def ledger(self, query: LedgerQuery) -> Ledger:
        """What came, and what was lost where, of receive minutes."""

        def ask() -> Ledger:
            files = self._manifest.files("ledger", LEVEL_LEDGER, query.span.from_ms, query.span.to_ms)
            settled = {file.name for file in files if file.stage and not any(_overlap(file, other) for other in files)}
            paths = {file.name: self._path(file) for file in files}
            open_ = [path for name, path in paths.items() if name not in settled]
            statement = ledger_table([path for name, path in paths.items() if name in settled], open_, query)
            self._connection.execute(statement.text, dict(statement.values))
            rows: pa.Table = self._connection.sql(ledger_sums(query)).to_arrow_table()
            first, end = self._connection.execute(ledger_range()).fetchall()[0]
            return Ledger(rows.select(LEDGER_ANSWER.names).cast(LEDGER_ANSWER), None if first is None else Span(first, end))

        return self._attempt(ask)

    def _protocols(self, span: Span) -> Mapping[Key, Sequence[int]]:
        self._view_flows(span, Filters())
        versions = "list_sort(list(DISTINCT protocol_version) FILTER (protocol_version IS NOT NULL))"
        found = self._connection.execute(
            f"SELECT location, exporter_addr, coalesce({versions}, []) FROM flows GROUP BY ALL"
        ).fetchall()
        return {row[:2]: row[2] for row in found}

    def _final_through(self) -> int | None:
        return self._manifest.final_through()

    def _prepare(self, items: Ranked | None, piece: Piece, filters: Filters, step_ms: int | None) -> None:
        span = piece.span
        if piece.source == RAW_LEVEL:
            statements = raw_tables(self._paths(span), items, span, filters, step_ms, self._both_sides)
        else:
            statements = self._aggregate_tables(piece, items, filters, step_ms)
        for statement in statements:
            self._connection.execute(statement.text, dict(statement.values))

    def _view_flows(self, span: Span, filters: Filters) -> None:
        self._connection.execute(flows_table(self._paths(span), filters).text)

    def _aggregate_tables(self, piece: Piece, items: Ranked | None, filters: Filters, step_ms: int | None) -> list[Statement]:
        files = self._document_files(piece)
        scope = scope_of(items, filters)
        if scope in WIDE and not (kept_at(items, scope) and self._has_all(files, scope, piece.span)):
            scope = Scope.EXPORTER
        return aggregate_tables(files, scope, items, piece.span, filters, step_ms)

    def _has_all(self, files: DocumentFiles, scope: Scope, span: Span) -> bool:
        """Whether every window with exporters has documents of the scope, too; older ones, and the newest, may not."""
        windows = windows_of(files, scope, span)
        counted = self._connection.execute(windows.text, dict(windows.values)).fetchall()[0]
        return bool(counted[0] == counted[1])

    def _document_files(self, piece: Piece) -> DocumentFiles:
        files = self._manifest.files("aggregate", piece.source, piece.span.from_ms, piece.span.to_ms)
        settled = {file.name for file in files if file.stage and not any(_overlap(file, other) for other in files)}
        return DocumentFiles(
            settled=[self._path(file) for file in files if file.name in settled],
            open=[self._path(file) for file in files if file.name not in settled],
        )

    def _paths(self, span: Span) -> list[str]:
        return [self._path(file) for file in self._manifest.files("raw", RAW_LEVEL, span.from_ms, span.to_ms)]

    def _path(self, file: LiveFile) -> str:
        path = find_file(self._manifest.data_dir, file)
        if path is None:
            raise _GoneError(file.name)
        return str(path)

    def _attempt(self, ask: Callable[[], Answer], attempts: int = _ATTEMPTS) -> Answer:
        try:
            return ask()
        except (duckdb.IOException, _GoneError) as error:
            if attempts == 1:
                raise StoreError(f"{self._manifest.data_dir}: a listed file cannot be read: {_line(error)}") from error
        except duckdb.Error as error:
            raise StoreError(f"{self._manifest.data_dir}: {_line(error)}") from error
        return self._attempt(ask, attempts - 1)


def connect() -> duckdb.DuckDBPyConnection:
    """A connection with what the statements of this store need."""
    connection = duckdb.connect(":memory:", config=dict(QUIET))
    connection.register("empty_documents", AGGREGATE_SCHEMA.empty_table())
    connection.register("empty_flows", RAW_SCHEMA.empty_table())
    connection.execute("CREATE TEMP TABLE no_documents AS FROM empty_documents")
    connection.execute("CREATE TEMP TABLE no_flows AS FROM empty_flows")
    connection.register("empty_ledger", LEDGER_SCHEMA.empty_table())
    connection.execute("CREATE TEMP TABLE no_ledger AS FROM empty_ledger")
    for macro in MACROS:
        connection.execute(macro)
    return connection


def _overlap(file: LiveFile, other: LiveFile) -> bool:
    return file.name != other.name and file.min_ms < other.max_ms and other.min_ms < file.max_ms


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
