"""Files of the embedded store: what is in them, and which there are."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import pack_address
from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA
from stores.addresses import address_texts
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from stores.parquet.writer import write_aggregates, write_raw
from stores.questions import Span
from tests.stores.literals import LATE, MINUTE, T0, Doc, batch_of, fill, flow, table_of

SPAN: Final = Span(T0, T0 + 10 * MINUTE)
HORIZON: Final = 15 * MINUTE
X, Y, Z = "10.0.0.1", "10.0.0.2", "2001:db8::1"


def test_a_file_has_what_was_there_and_addresses_as_text(tmp_path: Path) -> None:
    fill(
        tmp_path, batches=[batch_of([flow(1, 2, src_addr=X, dst_addr=Z, delta_switched_ms=T0 + 1000, tcp_flags=None), flow(3, 3)])]
    )
    with Manifest.open(tmp_path, writer=False) as manifest:
        [file] = manifest.files("raw", "raw", SPAN.from_ms, SPAN.to_ms)
    path = find_file(tmp_path, file)
    assert (path and path.parent.name, file.rows, file.min_ms, file.max_ms) == ("2026-09-21", 2, T0 + 1000, T0 + 3001)
    assert path
    table = pq.read_table(path)
    assert table["src_addr"].to_pylist() == [X, None]
    assert table["dst_addr"].to_pylist() == [Z, None]
    assert table.select(["collector", "epoch", "lane", "seq", "row", "mark_ms"]).to_pylist()[1] == {
        "collector": "collector", "epoch": 7, "lane": 3, "seq": 1, "row": 1, "mark_ms": LATE,
    }  # fmt: skip
    assert "tcp_flags" not in table.schema.names
    assert "delta_switched_ms" not in table.schema.names, "the same as first_switched_ms is written as null"


def test_nothing_to_write_is_no_file(tmp_path: Path) -> None:
    assert write_raw(tmp_path, []) == write_raw(tmp_path, [batch_of([])]) == []
    assert write_aggregates(tmp_path, AGGREGATE_SCHEMA.empty_table()) == []
    assert list(tmp_path.iterdir()) == []


def test_batches_with_different_columns_share_a_file(tmp_path: Path) -> None:
    batches = [batch_of([flow(src_addr=X, application="dns")], 1), batch_of([flow(src_addr=Y, vlan=5)], 2)]
    [file] = write_raw(tmp_path, batches)
    table = pq.read_table(tmp_path / file.name)
    assert (table["src_addr"].to_pylist(), table["vlan"].to_pylist()) == ([X, Y], [None, 5])
    assert table["application"].to_pylist() == ["dns", None]


def test_lists_read_back(tmp_path: Path) -> None:
    paths = [[65010, 4_200_000_000], None, []]
    [file] = write_raw(tmp_path, [batch_of([flow(as_path=path, dst_communities=path, local_pref=100) for path in paths])])
    table = pq.read_table(tmp_path / file.name)
    assert (table["as_path"].to_pylist(), table["dst_communities"].to_pylist()) == (paths, paths)
    assert table["local_pref"].to_pylist() == [100] * 3


def test_aggregates_are_one_file_per_hour(tmp_path: Path) -> None:
    files = write_aggregates(tmp_path, table_of([Doc("EXPORTER", (1, 0, 1), minute=minute) for minute in (45, 46, 0)]))
    assert [(file.rows, file.min_ms - T0, file.max_ms - T0) for file in files] == [
        (2, 0, 46 * MINUTE),
        (1, 46 * MINUTE, 47 * MINUTE),
    ]
    assert pq.read_schema(tmp_path / files[0].name).equals(AGGREGATE_SCHEMA)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_raw(tmp_path / "gone", [batch_of([flow()])])


@given(
    st.lists(st.one_of(st.none(), st.binary(min_size=16, max_size=16), st.ip_addresses(v=4).map(lambda a: pack_address(str(a)))))
)
def test_address_texts_read_back(packed: list[bytes | None]) -> None:
    texts = address_texts(pa.array(packed, pa.binary(16))).to_pylist()
    assert [text and pack_address(text) for text in texts] == packed
