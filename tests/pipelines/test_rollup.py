"""Hours and days are what their minutes add up to, made once, and made again only when a minute has changed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest

from columns.lane import Limits
from flowpb.partials import partial_row
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from pipelines.rollup import Due, due_of, forget, roll_up
from stores.cascade import Kept
from stores.parquet.cascade import ParquetCascade
from stores.parquet.layout import find_file
from stores.parquet.manifest import Commit, Manifest
from tests.pipelines.line import ENRICHER, EXACT, answer_of, canonical, driver_of, fill, newest, stored_documents
from tests.pipelines.longer import every_item, longer_documents

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
DAY0: Final = 1_700_006_400_000
"""A midnight."""


def played(start_ms: int, seed: int, rate: int = 20) -> list[BusEntry]:
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
        return list(roll_up(ParquetCascade(manifest), limits, ENRICHER))


def documents_of(folder: Path, level: str) -> list[dict[str, Any]]:
    with Manifest.open(folder, writer=False) as manifest:
        paths = [find_file(folder, file) for file in manifest.files("aggregate", level, 0, 1 << 62)]
    return newest(row for path in paths if path for row in pq.read_table(path).to_pylist())


def test_hours_and_days_are_the_oracles_minutes_added_up(entries: list[BusEntry], tmp_path: Path) -> None:
    drained(tmp_path, entries)
    assert [(due.level, (due.window_start_ms - DAY0) // HOUR) for due in rolled(tmp_path)] == [("1h", n) for n in (0, 1, 2)] + [
        ("1d", 0)
    ]
    minutes = every_item((entry.value for entry in entries), DAY0, DAY0 + DAY)
    assert documents_of(tmp_path, "1h") == longer_documents(minutes, HOUR)
    assert documents_of(tmp_path, "1d") == longer_documents(minutes, DAY)
    assert stored_documents(tmp_path) == canonical(answer_of(entries).table().to_pylist())


def test_what_was_made_is_not_made_again(entries: list[BusEntry], tmp_path: Path) -> None:
    drained(tmp_path, entries)
    rolled(tmp_path)
    files = sorted(tmp_path.rglob("*.parquet"))
    assert rolled(tmp_path) == []
    assert sorted(tmp_path.rglob("*.parquet")) == files


def test_bounds_hold_where_candidates_were_pruned(entries: list[BusEntry], tmp_path: Path) -> None:
    limits = replace(EXACT, top_k=2, young=8, old=4)
    drained(tmp_path, entries, limits)
    rolled(tmp_path, limits)
    truth = longer_documents(every_item((entry.value for entry in entries), DAY0, DAY0 + DAY), DAY, top_k=1 << 30)
    found = documents_of(tmp_path, "1d")
    group = ("grouped_by", "location", "exporter_addr", "if_index")
    item = ("application", "host_address", "conversation_key")
    pruned = 0
    for name in {tuple(row[key] for key in group) for row in truth}:
        exact = {tuple(row[key] for key in item): row["bytes_total"] for row in truth if tuple(row[k] for k in group) == name}
        rows = [row for row in found if tuple(row[key] for key in group) == name]
        assert sum(row["bytes_total"] for row in rows) == sum(exact.values())
        listed = {tuple(row[key] for key in item): row for row in rows if row["aggregation_type"] == "TOPK"}
        for key, row in listed.items():
            assert row["bytes_total"] <= exact[key] <= row["bytes_total"] + row["error"]
        floor = max((row["floor"] for row in rows), default=0)
        least = min((row["bytes_total"] + floor for row in listed.values()), default=0)
        assert all(value <= max(floor, least) for key, value in exact.items() if key not in listed and name[0].count("_") > 1)
        pruned += floor > 0
    assert pruned


def test_a_minute_that_was_repaired_makes_its_hour_and_day_again(entries: list[BusEntry], tmp_path: Path) -> None:
    drained(tmp_path, entries)
    rolled(tmp_path)
    before = documents_of(tmp_path, "1d")
    with Manifest.open(tmp_path, writer=True) as manifest:
        cascade = ParquetCascade(manifest)
        first, *_, last = cascade.kept("1m")
        [state] = cascade.states("1m", first.window_start_ms, first.window_start_ms + 1, first.lane)
        assert last.window_start_ms > DAY0 + DAY
        repaired = next(one for one in cascade.kept("1m") if one.window_start_ms >= DAY0 + 2 * HOUR)
        [more] = cascade.states("1m", repaired.window_start_ms, repaired.window_start_ms + 1, repaired.lane)
        manifest.commit(Commit(partials=[partial_row(repaired.lane, repaired.window_start_ms, repaired.rows + 5, more)]))
        manifest.commit(Commit(partials=[partial_row(first.lane, first.window_start_ms, first.rows - 1, b"older")]))
        assert cascade.states("1m", first.window_start_ms, first.window_start_ms + 1, first.lane) == [state]
    assert [(due.level, (due.window_start_ms - DAY0) // HOUR) for due in rolled(tmp_path)] == [("1h", 2), ("1d", 0)]
    assert documents_of(tmp_path, "1d") == before
    assert rolled(tmp_path) == []


def test_partials_go_when_nothing_can_be_made_of_them_again(entries: list[BusEntry], tmp_path: Path) -> None:
    drained(tmp_path, [*entries, *played(DAY0 + 3 * DAY + 4 * HOUR, 9)])
    rolled(tmp_path)
    with Manifest.open(tmp_path, writer=True) as manifest:
        cascade = ParquetCascade(manifest)
        assert {one.window_start_ms // DAY - DAY0 // DAY for one in cascade.kept("1m")} == {3}
        assert cascade.kept("1h") == []
        assert forget(cascade) == 0
    assert rolled(tmp_path) == []


def kept(window_start_ms: int, lane: int = 0, rows: int = 1, made_of: str = "") -> Kept:
    return Kept(window_start_ms, lane, rows, made_of)


def test_a_window_is_due_when_every_lane_is_through_with_it() -> None:
    minutes = [kept(DAY0), kept(DAY0 + 59 * MINUTE, lane=3), kept(DAY0 + HOUR)]
    assert list(due_of("1h", minutes, [], DAY0 + HOUR - 1)) == []
    [due] = due_of("1h", minutes, [], DAY0 + HOUR)
    assert (due.window_start_ms, list(due.lanes)) == (DAY0, [0, 3])
    made = [kept(DAY0, lane, 1, made_of) for lane, made_of in due.lanes.items()]
    assert list(due_of("1h", minutes, made, DAY0 + HOUR)) == []
    changed = [kept(DAY0, rows=2), *minutes[1:]]
    assert [one.window_start_ms for one in due_of("1h", changed, made, DAY0 + HOUR)] == [DAY0]


def test_a_window_whose_minutes_may_be_gone_is_made_once_and_never_again() -> None:
    minutes = [kept(DAY0)]
    assert [one.window_start_ms for one in due_of("1h", minutes, [], DAY0 + 5 * DAY)] == [DAY0]
    assert list(due_of("1h", minutes, [kept(DAY0, made_of="of more")], DAY0 + 27 * HOUR)) == []
    assert len(list(due_of("1h", minutes, [kept(DAY0, made_of="of more")], DAY0 + 27 * HOUR - 1))) == 1
