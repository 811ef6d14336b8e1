"""A reader beside a writer that commits, merges and deletes: every answer is one that was true at some moment."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import StoreError
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from stores.parquet.reader import ParquetStore
from stores.questions import Filters, FlowsQuery, Items, Span, TopQuery
from tests.stores.busy_writer import RUNS
from tests.stores.literals import MINUTE, T0, Doc, fill

SPAN = Span(T0, T0 + 20 * MINUTE)
TOP = TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 5)
FLOWS = FlowsQuery(SPAN, Filters(), 1000)


def test_answers_beside_a_busy_writer_are_whole_and_only_grow(tmp_path: Path) -> None:
    Manifest.open(tmp_path, writer=True).close()
    command = [sys.executable, "-m", "tests.stores.busy_writer", str(tmp_path)]
    answers = []
    with (
        subprocess.Popen(command, env={"PYTHONPATH": ":".join(sys.path)}) as writer,
        ParquetStore.open(tmp_path) as store,
    ):
        running = True
        while running:
            running = writer.poll() is None
            top = store.top(TOP)
            assert sum(item.measures.bytes_total for item in top.items) == top.total.bytes_total
            flows = store.flows(FLOWS)
            assert sorted(int(name.split("-")[3]) for name in flows.rows["id"].to_pylist()) == list(range(1, flows.matched + 1))
            answers.append((top.total.bytes_total, flows.matched))
    assert writer.returncode == 0
    assert answers == sorted(answers), "an answer went back in time"
    assert answers[-1] == (100 * RUNS + 14, RUNS)
    assert len(set(answers)) > 3


def test_a_committed_file_is_found_before_it_is_placed(tmp_path: Path) -> None:
    fill(tmp_path, [[Doc("EXPORTER", (5, 0, 5))]])
    with Manifest.open(tmp_path, writer=False) as manifest:
        [file] = manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)
    path = find_file(tmp_path, file)
    assert path
    path.rename(tmp_path / "pending" / file.name)
    with ParquetStore.open(tmp_path) as store:
        assert store.top(TOP).total.bytes_total == 5


def test_a_file_that_somebody_deleted_is_named(tmp_path: Path) -> None:
    fill(tmp_path, [[Doc("EXPORTER", (5, 0, 5))]])
    [path] = tmp_path.rglob("*.parquet")
    path.unlink()
    with ParquetStore.open(tmp_path) as store, pytest.raises(StoreError, match=f"a listed file cannot be read: {path.name}"):
        store.top(TOP)


def test_a_file_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    fill(tmp_path, [[Doc("EXPORTER", (5, 0, 5))]])
    [path] = tmp_path.rglob("*.parquet")
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with ParquetStore.open(tmp_path) as store, pytest.raises(StoreError, match=path.name) as caught:
        store.top(TOP)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_read_by_pattern(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read; move it"):
        ParquetStore.open(tmp_path / "what?")
