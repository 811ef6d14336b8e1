"""Flows as they come, for people who look: `nephrite ingest --tap`.

In: record batches of the decoding thread. Out: lines on a stream, written by a thread of its own. What the reader cannot take in
time is skipped: looking never slows the service down.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

import pyarrow as pa

from common.addresses import format_address, pack_address
from common.errors import UsageError
from flowpb.schema import INGEST_SCHEMA
from ingest.render import Format, row_writer, rows_of

_WAITING: Final = 64
COLUMNS: Final = (
    "exporter_addr", "src_addr", "src_port", "dst_addr", "dst_port", "protocol", "in_if", "out_if", "bytes", "packets",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """One column must have this value, compared as text."""

    column: str
    value: str


def parse_condition(text: str) -> Condition:
    """COLUMN=VALUE; raises UsageError."""
    column, equals, value = text.partition("=")
    if not equals or column not in INGEST_SCHEMA.names:
        raise UsageError(f"--where {text}: expected COLUMN=VALUE with a column of {', '.join(INGEST_SCHEMA.names)}")
    try:
        return Condition(column, _as_shown(column, value))
    except ValueError as error:
        raise UsageError(f"--where {text}: {column} has no value {value!r}: {error}") from error


def _as_shown(column: str, value: str) -> str:
    """The value as a row shows it; raises ValueError for one that no row can have."""
    kind = INGEST_SCHEMA.field(column).type
    if pa.types.is_dictionary(kind) and kind.value_type == pa.binary(16):
        return format_address(pack_address(value))
    return str(int(value)) if pa.types.is_integer(kind) else value


class FlowTap:
    """Call it with flows; `start` and `stop` its thread."""

    def __init__(self, out: TextIO, form: Format, conditions: Sequence[Condition] = (), columns: Sequence[str] = COLUMNS) -> None:
        self._conditions = tuple(conditions)
        self._names = tuple(columns)
        self._all = tuple(dict.fromkeys((*self._names, *(each.column for each in conditions))))
        self._writer = row_writer(form, self._names, out)
        self._waiting: deque[pa.RecordBatch] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="nephrite-tap", daemon=True)
        self.skipped = 0

    def __call__(self, flows: pa.RecordBatch) -> None:
        """Take flows, or skip them when the reader is behind."""
        with self._changed:
            if len(self._waiting) >= _WAITING:
                self.skipped += flows.num_rows
                return
            self._waiting.append(flows)
            self._changed.notify()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end the document."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or bool(self._waiting))
                if not self._waiting:
                    return
                flows = self._waiting.popleft()
            self._write(flows)

    def _write(self, flows: pa.RecordBatch) -> None:
        places = {name: place for place, name in enumerate(self._all)}
        rows = rows_of(flows, self._all)
        for condition in self._conditions:
            place = places[condition.column]
            rows = [row for row in rows if str(row[place]) == condition.value]
        if rows:
            self._writer.write([row[: len(self._names)] for row in rows])
