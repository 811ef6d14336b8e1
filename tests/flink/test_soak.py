"""What a soak says of samples, and what it finds in documents."""

from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from bench import soak_page
from bench.cases import CASES, endless
from bench.memory import HEAP, Memory, slope
from bench.soak import Soak, Watched
from bench.written import Sums, Written, sums_of
from flowpb.codec import decode, encode


def test_a_slope_is_that_of_the_second_half_in_megabytes_an_hour() -> None:
    filling = [(float(second), 100_000_000 * second) for second in range(10)]
    flat = [(10.0 + second, 900_000_000) for second in range(10)]
    assert slope(filling + flat) == 0.0
    assert slope([(3_600.0 * hour, 2_000_000 * hour) for hour in range(10)]) == 2.0
    assert slope(flat[:2]) == 0.0


def test_figures_are_by_process() -> None:
    memory = Memory()
    memory.sample({"worker": 1_500_000, "taskmanager": 3_000_000})
    assert memory.figures() == {"worker": {"mb": 1.5, "mb_per_hour": 0.0}, "taskmanager": {"mb": 3.0, "mb_per_hour": 0.0}}


def test_a_minute_is_the_most_of_a_process_and_the_least_of_a_heap() -> None:
    times = iter([0.0, 0.0, 30.0, 30.0, 60.0, 60.0])
    memory = Memory(clock=lambda: next(times))
    for megabytes in (5, 9, 7):
        memory.sample({"worker": megabytes * 1_000_000, HEAP: megabytes * 1_000_000})
    assert memory.by_minute() == {"worker": [9.0, 7.0], HEAP: [5.0, 7.0]}


def document(key: str, rows: int, flows: int, octets: int, grouped_by: str = "EXPORTER") -> bytes:
    head = {"_id": key, "grouped_by": grouped_by, "aggregation_type": "TOTAL"}
    return orjson.dumps({**head, "rows": rows, "flows_total": flows, "bytes_total": octets})


def test_the_newest_total_of_an_exporter_counts_whatever_comes_last(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(document("x", 3, 30, 300) + b"\n" + document("x", 1, 10, 100) + b"\n")
    (tmp_path / "b.ndjson").write_bytes(document("y", 1, 1, 7) + b"\n" + document("z", 9, 9, 9, "EXPORTER_INTERFACE") + b"\n")
    written = Written()
    written.take_files(tmp_path)
    assert (written.documents, written.sums) == (4, Sums(31, 307))
    assert list(tmp_path.iterdir()) == []


def test_sums_of_entries_are_those_of_their_flows() -> None:
    entries = next(endless(CASES[0], 200, 1, {}))
    header, flows = decode(entries[0][1])
    one = pa.RecordBatch.from_arrays(flows.slice(0, 1).columns, schema=flows.schema)
    assert sums_of([(0, encode(header, one))]) == Sums(1, one.column("bytes")[0].as_py())
    assert 150 < sums_of(entries).flows < 250


def test_the_table_goes_between_its_marks_and_a_page_without_them_is_told_before_anything_runs(tmp_path: Path) -> None:
    rows = [{"minute": 1.0, "ingest": 120.25}, {"minute": 2.0, "ingest": 121.0}]
    memory = Memory()
    memory.sample({"ingest": 121_000_000})
    found = Soak(Watched(memory, rows), Sums(5, 50), Sums(4, 40), {"documents": 3})
    text = soak_page.told(found, False, 2, 1_000)
    assert "| 2 | 121 |" in text
    assert "Sent: 5 flows, 50 octets. In the documents: 4 flows, 40 octets." in text
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="no <!-- up -->"):
        soak_page.measure(False, 1, 1, 1, page, print)
