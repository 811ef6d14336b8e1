"""Aggregate tables to JSON documents, column by column.

In: a table of flowpb.documents.AGGREGATE. Out: one JSON object per row, with the paths of the field table and `@timestamp`, without
the fields that are null. Refuses to know ids and stores.
"""

import json
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from flowpb.documents import AGGREGATE, Field

_END: Final = "}"


def to_json(table: pa.Table) -> list[bytes]:
    """The rows as JSON objects in UTF-8, in order; numbers of keyword fields (`group_id`) are written as text."""
    pieces: list[Any] = [pa.scalar('{"@timestamp":'), _text(table.column("window_end_ms"))]
    for field in AGGREGATE:
        pieces += _member(field, table.column(field.name))
    pieces += [pa.scalar(_END), pa.scalar("")]
    joined = pc.binary_join_element_wise(*pieces, null_handling="replace", null_replacement="")
    documents: list[bytes] = joined.cast(pa.binary()).to_pylist()
    return documents


def _member(field: Field, column: Any) -> list[Any]:
    """What joins to `,"path":value` for each row, to nothing where the value is null."""
    heads = field.json.split(".")
    before = "," + ":{".join(json.dumps(head) for head in heads) + ":"
    after = "}" * (len(heads) - 1)
    if pa.types.is_dictionary(field.type):
        return [_distinct_members(column, before, after)]
    if field.es_type == "keyword":
        before, after = before + '"', '"' + after
    if column.null_count:
        return [pc.binary_join_element_wise(before, _text(column), after, "")]
    return [before, _text(column), after]


def _distinct_members(column: Any, before: str, after: str) -> Any:
    """As `_member`, writing each distinct text once."""
    chunks = []
    for chunk in column.chunks:
        members = [before + json.dumps(text, ensure_ascii=False) + after for text in chunk.dictionary.to_pylist()]
        chunks.append(pa.array(members, pa.string()).take(chunk.indices))
    return pa.chunked_array(chunks, pa.string())


def _text(column: Any) -> Any:
    return column.cast(pa.string())
