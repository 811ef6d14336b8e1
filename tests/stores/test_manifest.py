"""What a commit carries, who may write, and what readers see meanwhile."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import StoreError
from stores.parquet.layout import PendingFile, find_file, manifest_path, pending_path, placed_path
from stores.parquet.manifest import Commit, Manifest, WindowState

MINUTE = 60_000


def pending(data_dir: Path, name: str, min_ms: int, max_ms: int) -> PendingFile:
    pending_path(data_dir, name).write_bytes(b"PAR1")
    return PendingFile("raw", "raw", name, 1, 4, min_ms, max_ms)


def test_a_new_store_carries_nothing(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        carried = manifest.load()
    assert (carried.run, carried.positions, carried.windows, carried.counters) == (0, {}, (), {})
    assert carried.final_through_ms is None


def test_parts_append_until_a_rewrite_and_go_with_their_window(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        assert manifest.commit(Commit(appended=[(1, MINUTE, b"a"), (1, MINUTE, b"bc"), (2, MINUTE, b"x")])) == 1
        assert manifest.load().windows[0] == WindowState(1, MINUTE, 0, None, (b"a", b"bc"))
        assert manifest.load().windows[0].part_bytes == 3
        manifest.commit(Commit(rewritten=[WindowState(1, MINUTE, 2, b"base")], appended=[(1, MINUTE, b"d")]))
        assert manifest.load().windows[0] == WindowState(1, MINUTE, 2, b"base", (b"d",))
        assert manifest.commit(Commit(closed=[(1, MINUTE)])) == 3
        assert manifest.load().windows == (WindowState(2, MINUTE, 0, None, (b"x",)),)


def test_positions_lanes_and_frontiers_are_replaced_and_counters_add_up(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        manifest.commit(Commit({0: 5, 1: 6}, {3: b"old"}, {3: 10}, counters={"a": 1, "b": 2}, final_through_ms=7))
        manifest.commit(Commit({1: 9}, {3: b"new"}, {3: 20, 4: 1}, counters={"b": 3}))
        carried = manifest.load()
    assert (carried.positions, carried.lanes) == ({0: 5, 1: 9}, {3: b"new"})
    assert (carried.frontiers, carried.counters) == ({3: 20, 4: 1}, {"a": 1, "b": 5})
    assert carried.final_through_ms == 7


def test_a_second_writer_is_refused_by_name_and_readers_are_not(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        with pytest.raises(StoreError, match=rf"process {os.getpid()} is writing this store; stop it first"):
            Manifest.open(tmp_path, writer=True)
        with Manifest.open(tmp_path, writer=False) as reader:
            manifest.commit(Commit(files=[pending(tmp_path, "f", 0, MINUTE)]))
            assert [file.name for file in reader.files("raw", "raw", 0, MINUTE)] == ["f"]
            with pytest.raises(StoreError, match="opened for reading only"):
                reader.commit(Commit())
    Manifest.open(tmp_path, writer=True).close()


def test_reading_where_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no data here yet"):
        Manifest.open(tmp_path / "nowhere", writer=False)
    sqlite3.connect(manifest_path(tmp_path)).close()
    manifest_path(tmp_path).touch()
    with pytest.raises(StoreError, match="no data here yet"):
        Manifest.open(tmp_path, writer=False)


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    manifest_path(tmp_path).write_bytes(b"x" * 4096)
    for writer in (True, False):
        with pytest.raises(StoreError, match=r"manifest\.sqlite: file is not a database"):
            Manifest.open(tmp_path, writer)


def test_a_manifest_of_another_version(tmp_path: Path) -> None:
    Manifest.open(tmp_path, writer=True).close()
    connection = sqlite3.connect(manifest_path(tmp_path))
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StoreError, match="manifest version 9, this program reads 1"):
        Manifest.open(tmp_path, writer=False)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        Manifest.open(tmp_path / "file" / "below", writer=True)


def test_a_commit_without_its_file_changes_nothing(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        with pytest.raises(StoreError, match="not there"):
            manifest.commit(Commit({0: 1}, files=[PendingFile("raw", "raw", "f", 1, 1, 0, 1)]))
        assert manifest.load().run == 0


def test_a_file_that_cannot_be_placed_stays_readable(tmp_path: Path) -> None:
    (tmp_path / "raw").touch()
    with Manifest.open(tmp_path, writer=True) as manifest:
        with pytest.raises(StoreError, match=r"raw.*: (Not a directory|File exists)"):
            manifest.commit(Commit(files=[pending(tmp_path, "f", 0, MINUTE)]))
        [file] = manifest.files("raw", "raw", 0, MINUTE)
        assert (find_file(tmp_path, file), manifest.load().run) == (tmp_path / "pending" / "f", 1)


def test_a_commit_that_fails_is_rolled_back(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        manifest.commit(Commit(files=[pending(tmp_path, "f", 0, MINUTE)]))
        with pytest.raises(StoreError, match="UNIQUE"):
            manifest.commit(Commit({0: 1}, files=[pending(tmp_path, "f", 0, MINUTE)]))
        assert (manifest.load().run, manifest.load().positions) == (1, {})


def test_files_by_half_open_range(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        manifest.commit(Commit(files=[pending(tmp_path, "f", MINUTE, 2 * MINUTE)]))
        assert manifest.files("raw", "raw", 0, MINUTE) == []
        assert manifest.files("raw", "raw", 2 * MINUTE, 3 * MINUTE) == []
        assert len(manifest.files("raw", "raw", 0, MINUTE + 1)) == 1
        assert len(manifest.files("raw", "raw", 2 * MINUTE - 1, 3 * MINUTE)) == 1
        assert manifest.files("aggregate", "1m", 0, 3 * MINUTE) == []


def test_dropped_files_stay_for_the_grace_and_their_folder_goes_last(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        manifest.commit(Commit(files=[pending(tmp_path, "f", 0, MINUTE)]))
        file = manifest.files("raw", "raw", 0, MINUTE)[0]
        path = placed_path(tmp_path, "raw", "f", MINUTE)
        assert find_file(tmp_path, file) == path == tmp_path / "raw" / "1970-01-01" / "f"
        manifest.replace(["f"], [], 0, now_ms=100)
        assert (manifest.files("raw", "raw", 0, MINUTE), path.exists(), manifest.status().dropped) == ([], True, 1)
        assert manifest.sweep(before_ms=100) == 0
        assert manifest.sweep(before_ms=101) == 1
        assert (path.parent.exists(), manifest.status().dropped) == (False, 0)
        assert find_file(tmp_path, file) is None


def test_status(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        files = [pending(tmp_path, "f", 0, MINUTE), pending(tmp_path, "g", MINUTE, 3 * MINUTE)]
        manifest.commit(Commit(files=files, appended=[(0, 0, b"123")], rewritten=[WindowState(0, MINUTE, 2, b"45")]))
        status = manifest.status()
    assert (status.run, status.windows, status.carried_bytes) == (1, 2, 5)
    level = status.levels[0]
    assert (level.level, level.files, level.rows, level.bytes, level.min_ms, level.max_ms) == ("raw", 2, 2, 8, 0, 3 * MINUTE)


WINDOWS = st.tuples(st.integers(0, 1), st.sampled_from((0, MINUTE)))
COMMITS = st.builds(
    Commit,
    positions=st.dictionaries(st.integers(0, 2), st.integers(0, 99)),
    lanes=st.dictionaries(st.integers(0, 2), st.binary(max_size=3)),
    frontiers=st.dictionaries(st.integers(0, 2), st.integers(0, 99)),
    appended=st.lists(st.tuples(st.integers(0, 1), st.sampled_from((0, MINUTE)), st.binary(max_size=3)), max_size=4),
    rewritten=st.lists(
        st.builds(
            lambda window, mark, base: WindowState(window[0], window[1], mark, base),
            WINDOWS,
            st.integers(0, 2),
            st.binary(max_size=3),
        ),
        max_size=2,
        unique_by=lambda state: (state.lane, state.window_start_ms),
    ),
    closed=st.lists(WINDOWS, max_size=1),
    counters=st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)),
)


@settings(max_examples=20)
@given(commits=st.lists(COMMITS, max_size=5))
def test_what_is_carried_is_what_a_plain_model_carries(tmp_path_factory: pytest.TempPathFactory, commits: list[Commit]) -> None:
    positions: dict[int, int] = {}
    lanes: dict[int, bytes] = {}
    frontiers: dict[int, int] = {}
    windows: dict[tuple[int, int], WindowState] = {}
    counters: dict[str, int] = {}
    data_dir = tmp_path_factory.mktemp("store")
    for commit in commits:
        with Manifest.open(data_dir, writer=True) as manifest:
            manifest.commit(commit)
        positions |= commit.positions
        lanes |= commit.lanes
        frontiers |= commit.frontiers
        windows |= {(state.lane, state.window_start_ms): state for state in commit.rewritten}
        for lane, start_ms, part in commit.appended:
            old = windows.get((lane, start_ms), WindowState(lane, start_ms, 0))
            windows[lane, start_ms] = replace(old, parts=(*old.parts, part))
        for window in commit.closed:
            windows.pop(window, None)
        counters = {name: counters.get(name, 0) + commit.counters.get(name, 0) for name in {*counters, *commit.counters}}
    with Manifest.open(data_dir, writer=True) as manifest:
        carried = manifest.load()
    assert carried.run == len(commits)
    assert (carried.positions, carried.lanes, carried.frontiers, carried.counters) == (positions, lanes, frontiers, counters)
    assert carried.windows == tuple(windows[window] for window in sorted(windows))


@pytest.mark.parametrize("garbage_ms", [-(2**63), 2**63 - 1])
def test_garbage_times_still_have_a_folder(tmp_path: Path, garbage_ms: int) -> None:
    assert placed_path(tmp_path, "raw", "f", garbage_ms).parent.parent == tmp_path / "raw"
