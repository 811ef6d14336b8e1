"""The rows of the embedded store's files: raw flows with their identity, and aggregates.

In: FLOW and AGGREGATE. Out: the Arrow schemas of files and how each column is encoded. Refuses to know paths and runs.

A raw row is (collector, epoch, lane, seq, row): the batch's identity and the place in it, the same on every bus. `mark_ms` and
`frontier_ms` are those that the batch was judged by, so that a reader can spread the flow exactly as the pipeline did
(docs/explanation/numbers.md 2 and 4). Addresses are text, so that any tool can read the files.
"""

from typing import Final

import pyarrow as pa

from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.schema import ADDRESS, FLOW, TEXT

IDENTITY: Final = pa.schema(
    [
        ("collector", TEXT),
        ("epoch", pa.int64()),
        ("lane", pa.int16()),
        ("seq", pa.int64()),
        ("row", pa.int32()),
        ("mark_ms", pa.int64()),
        ("frontier_ms", pa.int64()),
    ]
)
RAW_SCHEMA: Final = pa.schema(
    [*IDENTITY, *(pa.field(column.name, TEXT if column.type == ADDRESS else column.type) for column in FLOW)]
)
ADDRESS_COLUMNS: Final = tuple(column.name for column in FLOW if column.type == ADDRESS)

COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL: Final = 3
DICTIONARY_BYTES: Final = 16 << 20
"""Large enough for the addresses of a row group; beyond it, each row would spell its address out."""
ROW_GROUP: Final = 1 << 18
"""Rows that a reader can skip by their statistics, and that a writer holds."""

_RISING: Final = ("row", "seq", "received_ms", "exported_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms")


def encodings(schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    """Columns to dictionary-encode, and the encoding of the others: differences where neighbours are alike."""
    rising = {name: "DELTA_BINARY_PACKED" for name in _RISING if name in schema.names}
    plain = {field.name for field in schema if pa.types.is_nested(field.type)}
    return [name for name in schema.names if name not in rising and name not in plain], rising


def schema_of(level_schema: pa.Schema, names: set[str]) -> pa.Schema:
    """The columns of a level that a file has, in the level's order."""
    return pa.schema([field for field in level_schema if field.name in names])


SCHEMAS: Final = {"raw": RAW_SCHEMA, "aggregate": AGGREGATE_SCHEMA}
