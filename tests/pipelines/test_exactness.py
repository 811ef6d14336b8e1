"""The same final documents, whatever the bundling, interleaving, crash point and repeats: those of the oracle."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.memory import MemoryLog, MemoryProducer
from columns.lane import Limits
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import SHIPPED
from ingest.loadgen.batches import BusEntry
from stores.parquet.manifest import Commit, Manifest
from tests.pipelines.line import (
    EXACT,
    LANES,
    Traffic,
    answer_of,
    driver_of,
    expected_documents,
    fill,
    stored_documents,
    traffic_of,
)

SCENARIOS: Final = ("small", "skewed", "lossy")


class CrashedError(Exception):
    """What the tests throw into a commit."""


@pytest.fixture(scope="module", params=SCENARIOS)
def traffic(request: pytest.FixtureRequest) -> Traffic:
    return traffic_of(request.param, seed=7)


def test_final_documents_are_the_oracles(traffic: Traffic, tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        flows = driver_of(fill(traffic.entries), manifest).drain()
    assert flows == traffic.answer.counts.flows
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)


def test_counters_close_the_equation(traffic: Traffic, tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(fill(traffic.entries), manifest).drain()
        counted = manifest.load().counters
    counts = traffic.answer.counts
    assert counted["pipeline_batches_total"] == counts.batches
    assert counted.get('pipeline_batches_dropped_total{reason="repeat"}', 0) == counts.repeats
    assert counted.get('pipeline_flows_judged_total{reason="late"}', 0) == counts.late
    assert counted.get('pipeline_flows_judged_total{reason="future"}', 0) == counts.future
    assert counted["pipeline_raw_documents_total"] == counted["pipeline_flows_total"] == counts.flows


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bundling_interleaving_crash_and_repeat_gives_the_same(
    data: st.DataObject, traffic: Traffic, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    entries = interleaved(traffic.entries, Random(data.draw(st.integers(0, 1 << 32), label="interleaving")))
    entries = with_repeats(entries, data.draw(st.lists(st.integers(0, len(entries) - 1), max_size=8), label="repeats"))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(entries) - 1), max_size=5), label="cuts"))
    crashes = data.draw(st.sets(st.integers(0, len(cuts)), max_size=3), label="crashes")
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(entries)], strict=True)):
        for entry in entries[begin:end]:
            producer.send(entry.lane, entry.value)
        if number in crashes:
            crash_at_commit(folder, log)
        with Manifest.open(folder, writer=True) as manifest:
            driver_of(log, manifest).drain()
    assert stored_documents(folder) == expected_documents(traffic.answer)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "limits",
    [replace(EXACT, top_k=3), replace(EXACT, with_dscp=True), replace(EXACT, both_sides=True), replace(EXACT, values=SHIPPED)],
    ids=["k3", "dscp", "both", "values"],
)
def test_options_give_the_oracles_documents_too(limits: Limits, tmp_path: Path) -> None:
    traffic = traffic_of("small", seed=3)
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(fill(traffic.entries), manifest, limits=limits).drain()
    assert stored_documents(tmp_path) == expected_documents(answer_of(traffic.entries, limits))


def test_a_poisoned_entry_costs_itself_only(tmp_path: Path) -> None:
    traffic = traffic_of("small", seed=5)
    log = fill(traffic.entries)
    MemoryProducer(log).send(3, b"\xff not a batch")
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(log, manifest).drain()
        assert manifest.load().counters['pipeline_batches_dropped_total{reason="contract"}'] == 1
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)


def test_nothing_is_carried_once_all_windows_are_closed(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(fill(traffic_of("small", seed=1).entries), manifest).drain()
        assert manifest.load().windows == ()


def test_documents_have_the_schema_of_the_contract(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(fill(traffic_of("small", seed=1).entries), manifest).drain()
    assert set(stored_documents(tmp_path)[0]) <= set(AGGREGATE_SCHEMA.names)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_runs(tmp_path: Path) -> None:
    """A process that is killed again and again, each time after some more milliseconds, ends with the oracle's documents."""
    script = Path(__file__).with_name("killed_pipeline.py")
    traffic = traffic_of("small", seed=11)
    delays = [0.1, 0.4, 0.9, 1.5]
    for delay_s in delays:
        process = subprocess.Popen([sys.executable, str(script), str(tmp_path), "11"], stdout=subprocess.PIPE, env=environment())
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        try:
            process.wait(delay_s)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            process.stdout.close()
    subprocess.run([sys.executable, str(script), str(tmp_path), "11"], check=True, env=environment(), stdout=subprocess.DEVNULL)
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'proto'}"}


def interleaved(entries: Sequence[BusEntry], random: Random) -> list[BusEntry]:
    """The entries with another order between lanes, each lane's own order kept."""
    lanes: dict[int, list[BusEntry]] = {}
    for entry in entries:
        lanes.setdefault(entry.lane, []).append(entry)
    order = [lane for lane, own in lanes.items() for _ in own]
    random.shuffle(order)
    queues = {lane: iter(own) for lane, own in lanes.items()}
    return [next(queues[lane]) for lane in order]


def with_repeats(entries: list[BusEntry], places: list[int]) -> list[BusEntry]:
    """Entries sent again, each some time after its first."""
    out = list(entries)
    for place in sorted(places, reverse=True):
        out.insert(min(len(out), place + 1 + place % 50), entries[place])
    return out


def crash_at_commit(folder: Path, log: MemoryLog) -> None:
    """One run that does all its work, and dies in its commit."""

    class Dying(Manifest):
        def commit(self, commit: Commit) -> int:
            raise CrashedError

    with Dying.open(folder, writer=True) as manifest, pytest.raises(CrashedError):
        driver_of(log, manifest).run_once()
