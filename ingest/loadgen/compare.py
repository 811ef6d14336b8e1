"""Documents that the line wrote against the oracle's, in words.

In: aggregate documents from any store, of any marks, and an Answer. Out: one line per difference, none where they are equal. Of
several documents with one key the one with most rows counts, as it does in a store (docs/explanation/numbers.md section 9).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from flowpb.documents import NOT_COMPARED
from ingest.loadgen.expected import KEY, Answer
from ingest.loadgen.oracle.groups import Document, Value

_LEFT_OUT: Final = {*NOT_COMPARED, "group_id"}
_Key = tuple[Value, ...]


def differences(found: Iterable[Document], answer: Answer, most: int = 20) -> list[str]:
    """Differences by key, at most so many; `found` has the columns of AGGREGATE, for example from a table's to_pylist()."""
    written, expected = latest(found), latest(answer.documents)
    lines = []
    for key in sorted(written.keys() | expected.keys(), key=str):
        if key not in written:
            lines.append(f"{_named(key)}: missing")
        elif key not in expected:
            lines.append(f"{_named(key)}: unexpected")
        else:
            lines += [f"{_named(key)}: {line}" for line in _unequal(written[key], expected[key])]
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"]


def latest(documents: Iterable[Document]) -> Mapping[_Key, Document]:
    """The last version of each document."""
    kept: dict[_Key, Document] = {}
    for document in documents:
        key = tuple(document[name] for name in KEY)
        if key not in kept or int(document["rows"] or 0) >= int(kept[key]["rows"] or 0):
            kept[key] = document
    return kept


def _unequal(written: Document, expected: Document) -> list[str]:
    return [
        f"{name} {written.get(name)!r}, expected {value!r}"
        for name, value in expected.items()
        if name not in _LEFT_OUT and written.get(name) != value
    ]


def _named(key: _Key) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(KEY, key, strict=True) if value is not None)
