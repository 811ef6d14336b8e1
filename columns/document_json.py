"""Aggregate tables to JSON documents, column by column.

In: a table of flowpb.documents.AGGREGATE. Out: one JSON object per row, with the paths of the field table and `@timestamp`, without
the fields that are null. Refuses to know ids and stores.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from flowpb.documents import AGGREGATE, Field

_END: Final = "}"


def _by_object() -> list[list[Field]]:
    """Fields of one object together, at the place of its first, others alone: Elasticsearch refuses one that is there twice."""
    found: dict[str, list[Field]] = {}
    for field in AGGREGATE:
        found.setdefault(field.json.partition(".")[0], []).append(field)
    return list(found.values())


_OBJECTS: Final = _by_object()


def to_json(table: pa.Table) -> list[bytes]:
    """The rows as JSON objects in UTF-8, in order; numbers of keyword fields (`group_id`) are written as text."""
    pieces: list[Any] = [pa.scalar('{"@timestamp":'), _text(table.column("window_end_ms"))]
    for fields in _OBJECTS:
        pieces += _object(fields, table) if "." in fields[0].json else _member(fields[0], fields[0].json, table)
    pieces += [pa.scalar(_END), pa.scalar("")]
    joined = pc.binary_join_element_wise(*pieces, null_handling="replace", null_replacement="")
    documents: list[bytes] = joined.cast(pa.binary()).to_pylist()
    return documents


def _object(fields: Sequence[Field], table: pa.Table) -> list[Any]:
    """What joins to `,"head":{...}` for each row, to nothing where all of it is null."""
    head = fields[0].json.partition(".")[0]
    there = [field for field in fields if table.column(field.name).null_count < table.num_rows]
    before, names = f',"{head}":{{', [field.json.removeprefix(f"{head}.") for field in there]
    if len(there) <= 1:
        return [piece for field, name in zip(there, names, strict=True) for piece in _member(field, name, table, before, "}")]
    members = [piece for field, name in zip(there, names, strict=True) for piece in _member(field, name, table)]
    inner = pc.binary_join_element_wise(*members, "", null_handling="replace", null_replacement="")
    whole = pc.binary_join_element_wise(pc.utf8_replace_slice(inner, 0, 1, before), "}", "")
    return [pc.if_else(pc.equal(inner, ""), "", whole)]


def _member(field: Field, name: str, table: pa.Table, before: str = ",", after: str = "") -> list[Any]:
    """What joins to `,"name":value` for each row, to nothing where the value is null."""
    column = table.column(field.name)
    before += f"{json.dumps(name)}:"
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
