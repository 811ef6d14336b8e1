"""Ids and JSON of documents."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from columns.documents import document_id, group_id, ids_of, to_json
from columns.lane import Limits, absorb, emit, lay_out
from flowpb.documents import AGGREGATE, AGGREGATE_SCHEMA
from tests.columns.flows import NOW, batch
from tests.columns.oracle import Flow

FLOWS = [
    Flow(NOW + 9, NOW, location='Zü"rich', src_addr=bytes([i] * 16), protocol=6, direction=0, in_if=4, bytes=i, application='a"\n')
    for i in range(13)
]


@pytest.fixture(scope="module")
def table() -> object:
    limits = Limits(with_dscp=True)
    [part] = lay_out(batch(FLOWS), NOW, NOW, limits).parts.values()
    return emit(absorb(None, [part], limits, True), 5, NOW, 2, False, limits)[1]


def test_group_id_is_blake2b_of_the_groups_text() -> None:
    digest = hashlib.blake2b('["EXPORTER_INTERFACE_HOST","Zürich","10.0.0.1",7,null]'.encode(), digest_size=8).digest()
    assert group_id("EXPORTER_INTERFACE_HOST", "Zürich", "10.0.0.1", 7, None) == int.from_bytes(digest, "big")


def test_document_id_is_level_minute_group_slot() -> None:
    text = document_id("1h", 60_000 * 0x01020304, 0x1122334455667788, 10)
    assert base64.urlsafe_b64decode(text).hex() == "01" + "01020304" + "1122334455667788" + "000a"
    with pytest.raises(KeyError):
        document_id("2h", 0, 0, 0)


def test_ids_of_a_table_are_those_of_its_rows(table: object) -> None:
    rows = table.to_pylist()  # type: ignore[attr-defined]
    ids = ids_of(table)
    assert ids == [document_id("1m", row["window_start_ms"], row["group_id"], row["slot"]) for row in rows]
    assert len(set(ids)) == len(ids)
    assert ids_of(AGGREGATE_SCHEMA.empty_table()) == []


def test_json_has_every_field_at_its_path(table: object) -> None:
    for row, text in zip(table.to_pylist(), to_json(table), strict=True):  # type: ignore[attr-defined]
        document = json.loads(text, object_pairs_hook=only_once)
        assert document.pop("@timestamp") == row["window_end_ms"]
        expected = {field.json: str(row[field.name]) if field.name == "group_id" else row[field.name] for field in AGGREGATE}
        assert dict(_leaves(document)) == {path: value for path, value in expected.items() if value is not None}
    assert to_json(AGGREGATE_SCHEMA.empty_table()) == []


def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name is there twice: Elasticsearch refuses such documents."""
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row | {"window_end_ms": 1} for row in rows], AGGREGATE_SCHEMA)


def test_an_object_is_written_once_whatever_of_it_is_there() -> None:
    node = {"foreign_source": 'a"b', "foreign_id": "c", "node_id": 7}
    rows: list[dict[str, Any]] = [
        {"exporter_addr": "192.0.2.1", **node},
        {"exporter_addr": "192.0.2.2"},
        {"exporter_addr": "192.0.2.3", "node_id": 9},
        {**node},
        {},
    ]
    for some in (rows, rows[1:2], rows[4:], rows[3:]):
        found = [json.loads(text, object_pairs_hook=only_once) for text in to_json(table_of(some))]
        exporters = [{name.removeprefix("exporter_").replace("addr", "address"): row[name] for name in row} for row in some]
        assert [document.get("exporter", {}) for document in found] == exporters


def test_table_has_the_schema_and_one_group_id_per_group(table: object) -> None:
    assert table.schema == AGGREGATE_SCHEMA  # type: ignore[attr-defined]
    rows = table.to_pylist()  # type: ignore[attr-defined]
    groups = {(row["grouped_by"], row["if_index"], row["dscp"]): row["group_id"] for row in rows}
    assert len(set(groups.values())) == len(groups) == 12
    assert {(row["lane"], row["mark"], row["final"]) for row in rows} == {(5, 2, False)}


def _leaves(document: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
