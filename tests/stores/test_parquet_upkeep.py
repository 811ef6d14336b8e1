"""Merging keeps every row that counts, and retention takes what is too old or too much."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from common.config import Store
from common.errors import StoreError
from stores.parquet.compact import RUNS_PER_MERGE, SETTLE_MS, TARGET_BYTES, Merge, compact, next_merge
from stores.parquet.layout import DAY_MS, EVER, HOUR_MS, Kind, LiveFile, find_file
from stores.parquet.manifest import Manifest
from stores.parquet.reader import ParquetStore
from stores.parquet.upkeep import GRACE_MS, Maintenance, expired_files, maintain
from stores.questions import Filters, FlowsQuery, Items, LedgerQuery, Span, TopQuery
from tests.stores.literals import MINUTE, T0, A, Doc, batch_of, fill
from tests.stores.test_ledger_answers import HOUR as LEDGER_HOUR
from tests.stores.test_ledger_answers import TABLES, row, table

HOUR = T0 // HOUR_MS * HOUR_MS
SPAN = Span(T0, T0 + 10 * MINUTE)


def live(name: str, start_ms: int, stage: int = 0, size: int = 10, kind: Kind = "raw") -> LiveFile:
    return LiveFile(kind, "raw" if kind == "raw" else "1m", name, 1, size, start_ms, start_ms + MINUTE, stage)


def names(merge: Merge | None) -> tuple[list[str], int] | None:
    return ([file.name for file in merge.files], merge.stage) if merge else None


def test_some_runs_of_an_hour_merge_before_it_is_over() -> None:
    runs = [live(f"{number:03}", HOUR) for number in range(RUNS_PER_MERGE)]
    assert next_merge(runs[1:], HOUR) is None
    assert names(next_merge(runs, HOUR)) == ([run.name for run in runs], 1)
    assert next_merge([live("merged", HOUR, 1), *runs[1:]], HOUR) is None


def test_an_hour_merges_once_it_is_over_and_only_with_itself() -> None:
    files = [live("a", HOUR), live("b", HOUR + 59 * MINUTE, 1), live("c", HOUR + 60 * MINUTE)]
    over = HOUR + HOUR_MS + SETTLE_MS
    assert next_merge(files, over - 1) is None
    assert names(next_merge(files, over)) == (["a", "b"], 2)
    assert next_merge([live("ab", HOUR, 2), files[2]], over) is None


def test_a_late_file_joins_the_merged_hour() -> None:
    assert names(next_merge([live("hour", HOUR, 2), live("late", HOUR)], HOUR + 2 * HOUR_MS)) == (["hour", "late"], 2)


def test_a_day_merges_once_it_is_over() -> None:
    day = HOUR // DAY_MS * DAY_MS
    files = [live(str(hour), day + hour * HOUR_MS, 2) for hour in range(3)]
    assert next_merge(files, day + DAY_MS + SETTLE_MS - 1) is None
    assert names(next_merge(files, day + DAY_MS + SETTLE_MS)) == (["0", "1", "2"], 3)
    assert next_merge([live("day", day, 3)], day + 2 * DAY_MS) is None


def test_large_files_are_left_alone() -> None:
    half = TARGET_BYTES // 2 + 1
    files = [live(str(place), HOUR + place, size=half) for place in range(3)]
    assert next_merge(files, HOUR + 2 * DAY_MS) is None
    small = [live("8", HOUR + 8), live("9", HOUR + 9)]
    assert names(next_merge([*files, *small], HOUR + 2 * DAY_MS)) == (["2", "8", "9"], 3)


def versions() -> list[list[Doc]]:
    """Three runs: a second version of minute 0 with one more item, and minute 1."""
    return [
        [Doc("EXPORTER", (100, 0, 100)), Doc("EXPORTER_APPLICATION", (100, 0, 100), "dns")],
        [
            Doc("EXPORTER", (170, 0, 170), rows=2),
            Doc("EXPORTER_APPLICATION", (100, 0, 100), "dns", rows=2),
            Doc("EXPORTER_APPLICATION", (70, 0, 70), "ssh", slot=1, rows=2),
        ],
        [Doc("EXPORTER", (5, 0, 5), minute=1), Doc("EXPORTER_APPLICATION", (5, 0, 5), "ssh", minute=1)],
    ]


def test_merged_aggregates_keep_the_latest_version_and_the_answer(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    query = TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 5)
    with ParquetStore.open(tmp_path) as store:
        before = store.top(query)
        assert [(item.key, item.measures.bytes_total) for item in before.items] == [(("dns",), 100), (("ssh",), 75)]
        assert before.total.bytes_total == 175
        with Manifest.open(tmp_path, writer=True) as manifest:
            assert compact(manifest, T0 + 3 * HOUR_MS) == 1
            merged = manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)
        assert [(file.stage, file.rows, file.min_ms, file.max_ms) for file in merged] == [(2, 5, T0, T0 + 2 * MINUTE)]
        assert store.top(query) == before


def test_merged_raw_flows_are_all_there_in_time_order(tmp_path: Path) -> None:
    common: dict[str, object] = {"exporter_addr": A, "bytes": 10, "packets": 1, "direction": 0}
    late = {**common, "first_switched_ms": T0 + 5 * MINUTE, "last_switched_ms": T0 + 5 * MINUTE, "src_as": 65000}
    early = {**common, "first_switched_ms": T0, "last_switched_ms": T0, "src_addr": "2001:db8::1"}
    fill(tmp_path, batches=[batch_of([late], seq=2), batch_of([early, early], seq=1)])
    query = FlowsQuery(SPAN, Filters(), 10, "oldest")
    with ParquetStore.open(tmp_path) as store:
        before = store.flows(query)
        with Manifest.open(tmp_path, writer=True) as manifest:
            assert compact(manifest, T0 + 3 * HOUR_MS) == 1
            [merged] = manifest.files("raw", "raw", SPAN.from_ms, SPAN.to_ms)
        after = store.flows(query)
    assert after.rows.equals(before.rows)
    assert after.rows["id"].to_pylist() == ["collector-7-3-1-0", "collector-7-3-1-1", "collector-7-3-2-0"]
    path = find_file(tmp_path, merged)
    assert path
    table = pq.read_table(path)
    assert (table["seq"].to_pylist(), table["src_as"].to_pylist()) == ([1, 1, 2], [None, None, 65000])


def test_upkeep_merges_then_deletes_after_the_grace(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    now = T0 + 3 * HOUR_MS
    with Manifest.open(tmp_path, writer=True) as manifest:
        first = maintain(manifest, Store(), now)
        assert (first.merges, first.deleted, manifest.status().dropped) == (1, 0, 3)
        assert maintain(manifest, Store(), now + GRACE_MS).deleted == 0
        assert maintain(manifest, Store(), now + GRACE_MS + 1).deleted == 3
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_maintenance_merges_in_a_thread_and_takes_the_result_between_runs(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    now = T0 + 3 * HOUR_MS
    with Manifest.open(tmp_path, writer=True) as manifest, Maintenance(manifest, Store()) as upkeep:
        assert upkeep.step(now).merges == 0
        assert len(manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)) == 3
        assert upkeep.settle(now).merges == 1
        assert len(manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)) == 1
        assert upkeep.settle(now + GRACE_MS + 1).deleted == 3


def test_a_merge_of_files_that_expired_meanwhile_is_thrown_away(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    with Manifest.open(tmp_path, writer=True) as manifest, Maintenance(manifest, Store(aggregate_days=1)) as upkeep:
        upkeep.step(T0 + 3 * HOUR_MS)
        done = upkeep.settle(T0 + 3 * DAY_MS)
        assert (done.merges, done.expired_files, manifest.status().levels) == (0, 3, ())
    assert list((tmp_path / "pending").iterdir()) == []


def test_a_merge_larger_than_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.parquet.compact.ROW_GROUP", 2)
    rows: list[dict[str, object]] = [
        {"exporter_addr": A, "src_addr": f"10.0.0.{n}", "first_switched_ms": T0, "last_switched_ms": T0} for n in range(3)
    ]
    fill(tmp_path, batches=[batch_of(rows[:2], 1), batch_of(rows[1:], 2), batch_of(rows[:1], 3)])
    with Manifest.open(tmp_path, writer=True) as manifest:
        assert compact(manifest, T0 + 3 * HOUR_MS, most=5) == 1
        [file] = manifest.files("raw", "raw", SPAN.from_ms, SPAN.to_ms)
    path = find_file(tmp_path, file)
    assert path
    merged = pq.ParquetFile(path)
    assert merged.metadata.num_row_groups > 1
    pairs = sorted(zip(merged.read()["seq"].to_pylist(), merged.read()["src_addr"].to_pylist(), strict=True))
    assert pairs == [(1, "10.0.0.0"), (1, "10.0.0.1"), (2, "10.0.0.1"), (2, "10.0.0.2"), (3, "10.0.0.0")]


def test_a_merge_that_fails_does_not_stop_maintenance(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, versions())
    next(tmp_path.rglob("*.parquet")).unlink()
    now = T0 + 3 * HOUR_MS
    with Manifest.open(tmp_path, writer=True) as manifest, Maintenance(manifest, Store()) as upkeep:
        assert upkeep.step(now).failed_merges == 0
        assert upkeep.settle(now).failed_merges == 1
        assert upkeep.settle(now).failed_merges == 0
        assert manifest.load().counters == {'store_merges_total{result="given_up"}': 1}
    assert "merge given up" in caplog.text


@pytest.mark.parametrize("kind", ["raw", "agg-1m"])
def test_a_damaged_file_stops_the_merge_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    flow: dict[str, object] = {"exporter_addr": A, "first_switched_ms": T0, "last_switched_ms": T0}
    fill(tmp_path, versions(), [batch_of([flow], 1), batch_of([flow], 2)])
    damaged = next((tmp_path / kind).rglob("*.parquet"))
    damaged.write_bytes(b"PAR1" + bytes(64) + b"PAR1")
    with Manifest.open(tmp_path, writer=True) as manifest:
        with pytest.raises(StoreError, match=r"cannot (merge|be written)") as caught:
            compact(manifest, T0 + 3 * HOUR_MS, most=5)
        assert "\n" not in str(caught.value)
    assert list((tmp_path / "pending").iterdir()) == []


def test_a_missing_file_stops_the_merge_with_its_name(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    with Manifest.open(tmp_path, writer=True) as manifest:
        file = manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)[0]
        path = find_file(tmp_path, file)
        assert path
        path.unlink()
        with pytest.raises(StoreError, match=f"{file.name} is in the manifest but not on disk"):
            compact(manifest, T0 + 3 * HOUR_MS)
        assert len(manifest.files("aggregate", "1m", SPAN.from_ms, SPAN.to_ms)) == 3


def test_retention_by_age_is_of_the_newest_row() -> None:
    limits = Store(raw_days=1, aggregate_days=2, hour_days=3, day_days=4)
    files = {"raw": [live("old", 0), live("new", 1)], **{level: [live(level, 0, kind="aggregate")] for level in ("1m", "1h", "1d")}}
    assert [file.name for file in expired_files(files, limits, DAY_MS + MINUTE)] == ["old"]
    assert [file.name for file in expired_files(files, limits, 2 * DAY_MS + MINUTE)] == ["old", "new", "1m"]
    assert [file.name for file in expired_files(files, limits, 4 * DAY_MS + MINUTE)] == ["old", "new", "1m", "1h", "1d"]


def test_retention_by_size_takes_oldest_raw_files_first_then_minutes_hours_days() -> None:
    limits = Store(max_bytes=1 << 20)
    third = (1 << 20) // 3
    raw = [live("2", 2, size=third), live("1", 1, size=third), live("3", 3, size=third)]
    longer = {level: [live(level, 0, size=third, kind="aggregate")] for level in ("1d", "1h", "1m")}
    assert [file.name for file in expired_files({"raw": raw, "1m": longer["1m"]}, limits, MINUTE)] == ["1"]
    assert [file.name for file in expired_files({"raw": raw[:1], **longer}, limits, MINUTE)] == ["2"]
    assert [file.name for file in expired_files({"raw": raw[:1], **longer}, limits, MINUTE, held=2 * third)] == ["2", "1m", "1h"]


def test_retention_by_size_of_one_level() -> None:
    hours = [live(str(hour), hour, size=100, kind="aggregate") for hour in (3, 1, 2)]
    files = {"raw": [live("raw", 0, size=500)], "1h": hours}
    assert [file.name for file in expired_files(files, Store(hour_bytes=200), MINUTE)] == ["1"]
    assert [file.name for file in expired_files(files, Store(raw_bytes=499), MINUTE)] == ["raw"]


def test_retention_takes_files_out_of_answers_at_once(tmp_path: Path) -> None:
    fill(tmp_path, versions())
    with Manifest.open(tmp_path, writer=True) as manifest:
        done = maintain(manifest, Store(aggregate_days=1), T0 + 3 * DAY_MS)
        assert (done.expired_files, done.merges, manifest.status().levels) == (3, 0, ())
        counted = manifest.load().counters
        assert counted == {"store_expired_files_total": 3, "store_expired_bytes_total": done.expired_bytes}
    with ParquetStore.open(tmp_path) as store:
        assert store.extent("1m") is None
        assert store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 5)).items == ()


def test_the_ledger_is_merged_to_its_newest_rows(tmp_path: Path) -> None:
    fill(tmp_path, ledger=[*TABLES, *(table(row(3, datagrams=number, version=number)) for number in range(1, 70))])
    with ParquetStore.open(tmp_path) as store:
        before = store.ledger(LedgerQuery(LEDGER_HOUR))
    with Manifest.open(tmp_path, writer=True) as manifest:
        assert compact(manifest, LEDGER_HOUR.to_ms + 3 * 3_600_000, most=5) >= 1
        files = manifest.files("ledger", "ledger", *EVER)
    with ParquetStore.open(tmp_path) as store:
        assert store.ledger(LedgerQuery(LEDGER_HOUR)) == before
    assert len(files) < len(TABLES) + 69
    assert sum(file.rows for file in files) < 3 + 2 + 2 + 69


def test_the_ledger_expires_by_its_own_age(tmp_path: Path) -> None:
    fill(tmp_path, ledger=TABLES)
    now_ms = LEDGER_HOUR.from_ms + 10 * 86_400_000
    with Manifest.open(tmp_path, writer=True) as manifest:
        assert maintain(manifest, Store(ledger_days=20), now_ms, merges=0).expired_files == 0
        assert maintain(manifest, Store(ledger_days=9), now_ms, merges=0).expired_files == len(TABLES)


def test_files_of_a_version_with_fewer_columns_are_read_and_merged(tmp_path: Path) -> None:
    older, newer = table(row(0, datagrams=5)), table(row(0, version=2, datagrams=9), row(1, socket_drops=3))
    fill(tmp_path, ledger=[older, newer])
    with Manifest.open(tmp_path, writer=True) as manifest:
        for file in manifest.files("ledger", "ledger", *EVER):
            path = find_file(tmp_path, file)
            assert path is not None
            if file.rows == older.num_rows:
                pq.write_table(pq.read_table(path).drop_columns(["socket_drops"]), path)
        asked = LedgerQuery(LEDGER_HOUR)
        with ParquetStore.open(tmp_path) as store:
            before = store.ledger(asked)
        assert compact(manifest, LEDGER_HOUR.to_ms + 3 * 3_600_000, most=5) >= 1
        with ParquetStore.open(tmp_path) as store:
            assert store.ledger(asked) == before
    assert (before.rows["datagrams"].to_pylist(), before.rows["socket_drops"].to_pylist()) == ([9], [3])
