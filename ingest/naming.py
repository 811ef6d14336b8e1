"""Names that exporters have sent, asked for by other threads than the one that decodes.

In: questions from any thread. Out: rows that the decoding thread makes between two datagrams, so that nothing changes under them.
Refuses to know the decoder and HTTP.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from common.addresses import format_address
from ingest.tables import NameRow

_ANSWER_S: Final = 5.0


class NamesDesk:
    """Questions and their answers. One that is not answered in time gets None."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._asked = threading.Event()
        self._answered = threading.Event()
        self._rows: Sequence[NameRow] = ()

    def ask(self, timeout_s: float = _ANSWER_S) -> Sequence[NameRow] | None:
        """All names that are known now; who asks at the same time waits."""
        with self._asking:
            self._answered.clear()
            self._asked.set()
            return self._rows if self._answered.wait(timeout_s) else None

    def answer(self, names: Callable[[], Sequence[NameRow]]) -> None:
        """Answer if somebody asks; called by the thread that owns the names, again and again."""
        if self._asked.is_set():
            self._asked.clear()
            self._rows = names()
            self._answered.set()


def plain_rows(rows: Sequence[NameRow]) -> list[dict[str, Any]]:
    """Rows as JSON has them: exporter (an address), domain, kind, id, name, description."""
    return [
        {
            "exporter": format_address(row.exporter),
            "domain": row.domain,
            "kind": row.kind,
            "id": row.id,
            "name": row.name,
            "description": row.description,
        }
        for row in rows
    ]
