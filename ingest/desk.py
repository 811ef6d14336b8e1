"""Tables of what exporters have sent, asked for by other threads than the one that decodes.

In: questions from any thread. Out: rows that the decoding thread makes between two datagrams, so that nothing changes under them.
Refuses to know the decoder and HTTP.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from common.addresses import format_address
from ingest.tables import NameRow, SamplerRow, TemplateRow

_ANSWER_S: Final = 5.0
Row = NameRow | SamplerRow | TemplateRow


class TablesDesk:
    """Questions and their answers. One that is not answered in time gets None."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._asked = threading.Event()
        self._answered = threading.Event()
        self._table = ""
        self._rows: Sequence[Row] = ()

    def ask(self, table: str, timeout_s: float = _ANSWER_S) -> Sequence[Row] | None:
        """All rows of a table as of now; who asks at the same time waits."""
        with self._asking:
            self._answered.clear()
            self._table = table
            self._asked.set()
            return self._rows if self._answered.wait(timeout_s) else None

    def answer(self, tables: Mapping[str, Callable[[], Sequence[Row]]]) -> None:
        """Answer if somebody asks; called by the thread that owns the tables, again and again."""
        if self._asked.is_set():
            self._asked.clear()
            self._rows = tables[self._table]()
            self._answered.set()


def plain_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON has them: every field by its name, the exporter as an address."""
    return [{**asdict(row), "exporter": format_address(row.exporter)} for row in rows]
