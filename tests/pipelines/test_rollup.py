"""Hours and days are what their minutes add up to, made once, and made again only when a minute has changed."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from columns.lane import Limits, combine
from columns.partials import partial_of
from flowpb.partials import partial_row
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.expected import Answer
from ingest.loadgen.run import Player
from pipelines.commands import app_commands
from pipelines.rolling import Rolling
from pipelines.rollup import Due, Rules, due_of, forget, roll_up
from stores.cascade import Kept
from stores.parquet.cascade import ParquetCascade
from stores.parquet.layout import find_file
from stores.parquet.manifest import Commit, Manifest
from tests.pipelines.line import ENRICHER, EXACT, driver_of, fill, newest
from tests.pipelines.longer import every_item, longer_documents

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
DAY0: Final = 1_700_006_400_000
"""A midnight."""


def played(start_ms: int, seed: int, rate: int = 8) -> list[BusEntry]:
    """A minute of the scenario `small` from a time on, and heartbeats until its windows are closed."""
    scenario = BUILTIN["small"].model_copy(update={"seed": seed, "rate": rate})
    entries: list[BusEntry] = []

    def keep(entry: BusEntry) -> bool:
        entries.append(entry)
        return True

    Player(scenario, start_ms, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    return entries


@pytest.fixture(scope="module")
def entries() -> list[BusEntry]:
    """Traffic across a full hour, in two hours of one day, and on the next."""
    starts = (DAY0 + HOUR - 30_000, DAY0 + 2 * HOUR + 20 * MINUTE, DAY0 + DAY + HOUR + 30 * MINUTE)
    return [entry for seed, start in enumerate(starts) for entry in played(start, seed)]


def drained(folder: Path, entries: Sequence[BusEntry], limits: Limits = EXACT) -> None:
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(fill(entries), manifest, limits=limits).drain()


def rolled(folder: Path, limits: Limits = EXACT) -> list[Due]:
    with Manifest.open(folder, writer=True) as manifest:
        return list(roll_up(ParquetCascade(manifest), Rules(limits, ENRICHER)))


@pytest.fixture(scope="module")
def made(entries: list[BusEntry], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Due]]:
    """A store with everything made, and what that was."""
    folder = tmp_path_factory.mktemp("made")
    drained(folder, entries)
    return folder, rolled(folder)


@pytest.fixture
def store(made: tuple[Path, list[Due]], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made[0], tmp_path / "store"))


def documents_of(folder: Path, level: str) -> list[dict[str, Any]]:
    with Manifest.open(folder, writer=False) as manifest:
        paths = [find_file(folder, file) for file in manifest.files("aggregate", level, 0, 1 << 62)]
    return newest(row for path in paths if path for row in pq.read_table(path).to_pylist())


@pytest.fixture(scope="module")
def minutes(entries: list[BusEntry]) -> Answer:
    """The oracle's minutes of the first day, with all items."""
    return every_item((entry.value for entry in entries), DAY0, DAY0 + DAY)


def hours_of(made: list[Due]) -> list[tuple[str, int]]:
    return [(due.level, (due.window_start_ms - DAY0) // HOUR) for due in made]


def test_hours_and_days_are_the_oracles_minutes_added_up(minutes: Answer, made: tuple[Path, list[Due]]) -> None:
    folder, windows = made
    assert hours_of(windows) == [("1h", 0), ("1h", 1), ("1h", 2), ("1d", 0)]
    assert documents_of(folder, "1h") == longer_documents(minutes, HOUR)
    assert documents_of(folder, "1d") == longer_documents(minutes, DAY)


def test_what_was_made_is_not_made_again(store: Path) -> None:
    files = sorted(store.rglob("*.parquet"))
    assert rolled(store) == []
    assert sorted(store.rglob("*.parquet")) == files


def test_bounds_hold_where_candidates_were_pruned(entries: list[BusEntry], minutes: Answer, tmp_path: Path) -> None:
    limits = replace(EXACT, top_k=2, young=8, old=4)
    drained(tmp_path, entries, limits)
    rolled(tmp_path, limits)
    truth = by_group(longer_documents(minutes, DAY, top_k=1 << 30))
    found = by_group(documents_of(tmp_path, "1d"))
    assert found.keys() == truth.keys()
    pruned = 0
    for name, rows in found.items():
        exact = {item_of(row): row["bytes_total"] for row in truth[name]}
        assert sum(row["bytes_total"] for row in rows) == sum(exact.values())
        listed = {item_of(row): row for row in rows if row["aggregation_type"] == "TOPK"}
        for item, row in listed.items():
            assert row["bytes_total"] <= exact[item] <= row["bytes_total"] + row["error"]
        if listed:
            floor = max(row["floor"] for row in rows)
            least = min(row["bytes_total"] for row in listed.values())
            assert all(value <= least + floor for item, value in exact.items() if item not in listed)
            pruned += floor > 0
    assert pruned


def by_group(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["grouped_by"], row["location"], row["exporter_addr"], row["if_index"]), []).append(row)
    return groups


def item_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["application"], row["host_address"], row["conversation_key"], row["item"]


def test_a_minute_that_was_repaired_makes_its_hour_and_day_again(store: Path) -> None:
    before = documents_of(store, "1d")
    with Manifest.open(store, writer=True) as manifest:
        cascade = ParquetCascade(manifest)
        older = cascade.kept("1m")[0]
        manifest.commit(Commit(partials=[partial_row(older.lane, older.window_start_ms, older.rows - 1, b"older")]))
        assert cascade.kept("1m")[0] == older
        one = next(one for one in cascade.kept("1m") if one.window_start_ms >= DAY0 + 2 * HOUR)
        [state] = cascade.states("1m", one.window_start_ms, one.window_start_ms + 1, one.lane)
        twice = combine([state, state], EXACT)
        manifest.commit(Commit(partials=[partial_of(twice, one.lane, one.window_start_ms, EXACT)]))
    assert hours_of(rolled(store)) == [("1h", 2), ("1d", 0)]
    grown = {row["rows"] for row in documents_of(store, "1d")} - {row["rows"] for row in before}
    assert sum(grown) > 0
    assert rolled(store) == []


def test_partials_go_when_nothing_can_be_made_of_them_again(store: Path) -> None:
    with Manifest.open(store, writer=True) as manifest:
        cascade = ParquetCascade(manifest)
        assert {one.window_start_ms // HOUR - DAY0 // HOUR for one in cascade.kept("1m")} == {0, 1, 2, 25}
        manifest.commit(Commit(final_through_ms=DAY0 + 3 * DAY))
        assert hours_of(list(roll_up(cascade, Rules(EXACT, ENRICHER)))) == [("1h", 25), ("1d", 24)]
        assert cascade.kept("1m") == []
        assert {one.window_start_ms for one in cascade.kept("1h")} == {DAY0 + 25 * HOUR}
        manifest.commit(Commit(final_through_ms=DAY0 + 4 * DAY))
        assert list(roll_up(cascade, Rules(EXACT, ENRICHER))) == []
        assert cascade.kept("1h") == cascade.kept("1d") == []
        assert forget(cascade) == 0


def test_it_runs_beside_a_pipeline(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Manifest.open(store, writer=True) as manifest:
        manifest.commit(Commit(final_through_ms=DAY0 + 26 * HOUR))
        damaged = partial_row(5, DAY0 + 5 * HOUR, 1, b"NBAS")
        manifest.commit(Commit(partials=[damaged]))
        with Rolling(manifest, Rules(EXACT, ENRICHER)) as rolling:
            assert rolling.step() is None
            assert rolling.settle() is None  # the damaged one is given up, the next is begun
            made = rolling.settle()
            assert made
            assert hours_of([made]) == [("1h", 25)]
            assert rolling.settle() is None
        counted = manifest.load().counters
    assert counted['rollup_windows_total{level="1h",result="made"}'] == 1
    assert counted['rollup_windows_total{level="1h",result="given_up"}'] == 1
    assert "not made" in caplog.text


def test_the_command_makes_them_once(store: Path) -> None:
    with Manifest.open(store, writer=True) as manifest:
        manifest.commit(Commit(final_through_ms=DAY0 + 26 * HOUR))
    app = typer.Typer()
    app_commands(app)
    for text in ("1h 2023-11-16T01:00Z: ", "nothing to make"):
        result = CliRunner().invoke(app, ["rollup", "--data-dir", str(store)])
        assert (result.exit_code, text in result.output) == (0, True), result.output


def kept(window_start_ms: int, lane: int = 0, rows: int = 1, made_of: str = "") -> Kept:
    return Kept(window_start_ms, lane, rows, made_of)


def test_a_window_is_due_when_every_lane_is_through_with_it() -> None:
    minutes = [kept(DAY0), kept(DAY0 + 59 * MINUTE, lane=3), kept(DAY0 + HOUR)]
    assert list(due_of("1h", minutes, [], DAY0 + HOUR - 1)) == []
    [due] = due_of("1h", minutes, [], DAY0 + HOUR)
    assert (due.window_start_ms, list(due.lanes)) == (DAY0, [0, 3])
    made = [kept(DAY0, lane, 1, made_of) for lane, made_of in due.lanes.items()]
    assert list(due_of("1h", minutes, made, DAY0 + HOUR)) == []
    changed = [kept(DAY0, made_of="more"), *minutes[1:]]
    assert [one.window_start_ms for one in due_of("1h", changed, made, DAY0 + HOUR)] == [DAY0]


def test_a_window_whose_minutes_may_be_gone_is_made_once_and_never_again() -> None:
    minutes = [kept(DAY0)]
    assert [one.window_start_ms for one in due_of("1h", minutes, [], DAY0 + 5 * DAY)] == [DAY0]
    assert list(due_of("1h", minutes, [kept(DAY0, made_of="of more")], DAY0 + 27 * HOUR)) == []
    assert len(list(due_of("1h", minutes, [kept(DAY0, made_of="of more")], DAY0 + 27 * HOUR - 1))) == 1
