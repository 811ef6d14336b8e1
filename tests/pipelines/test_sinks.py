"""Sinks of the streaming pipeline: what they have taken is on disk, and what they cannot take fails the bundle with its place."""

from pathlib import Path

import pyarrow as pa
import pytest

from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA
from pipelines.sinks import WriteFiles

ROW = {"window_start_ms": 0, "window_end_ms": 60_000, "group_id": 1, "slot": 0, "rows": 1}


def stream() -> bytes:
    table = pa.Table.from_pylist([{name: ROW.get(name) for name in AGGREGATE_SCHEMA.names}], schema=AGGREGATE_SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def bundle(folder: Path) -> None:
    sink = WriteFiles(str(folder))
    sink.start_bundle()
    sink.process(stream())
    sink.finish_bundle()


def test_a_bundle_is_one_whole_file(tmp_path: Path) -> None:
    bundle(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".ndjson"
    assert len(file.read_bytes().splitlines()) == 1


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none.*: documents were not taken: No such file"):
        bundle(tmp_path / "none")
