"""kill -9 of `nephrite up`, of its pipeline, and of `nephrite replay` at random moments: nothing is lost, nothing counted twice.

What was received is what the spool holds: its entries are read with the bus's own reader whenever nobody writes, and given to
the oracle. Windows close by receive time and late, so heartbeats far ahead are put on the stopped spool at the end.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from bus.contract import Entry
from bus.spool import SpoolProducer
from bus.spool_source import SpoolSource
from common.clock import wall_clock
from common.config import Settings, load_settings
from flowpb.codec import Header, decode_header, encode
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS
from ingest.loadgen.compare import differences
from ingest.loadgen.expected import Answer, Oracle
from pipelines.embedded import open_embedded
from tests.e2e.command import EXACT, NEPHRITE, Service, environment, flows, free_port, nephrite, running
from tests.e2e.peers import octets_waiting
from tests.pipelines.line import expected_documents, stored_documents

AHEAD_MS: Final = HORIZON_MS + FINAL_DELAY_MS + 5 * 60_000
Received = dict[tuple[int, int], Entry]


def pause(seconds: float) -> None:
    """A moment that the seed chose: what happens is between two of them."""
    time.sleep(seconds)


@contextmanager
def ready(data_dir: Path, port: int) -> Iterator[Service]:
    """A new `up` that takes datagrams and whose pipeline runs; gone at the end of the block."""
    with running("up", "--data-dir", data_dir, "--listen", f"127.0.0.1:{port}", changes=EXACT) as service:
        for _ in ("ingest", "pipeline", "serve"):
            service.wait_for(" ready")
        yield service


def send(port: int, expect: Path, seed: int, seconds: int) -> "subprocess.Popen[bytes]":
    options = ["--rate", "120", "--duration", str(seconds), "--seed", str(seed), "--expect", str(expect)]
    command = [*NEPHRITE, "generate", "small", "--to", f"udp://127.0.0.1:{port}", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment())


def note_entries(data_dir: Path, received: Received) -> None:
    """Everything that the spool still has."""
    source = SpoolSource(data_dir / "spool")
    try:
        for lane in range(source.partitions):
            offset = source.begin(lane)
            while entries := source.read(lane, offset, 1 << 26):
                received.update({(lane, entry.offset): entry for entry in entries})
                offset = entries[-1].offset + 1
    finally:
        source.close()


def close_windows(data_dir: Path, settings: Settings, received: Received) -> None:
    """Heartbeats so far ahead, on a bus whose clock is too, that every window gets its last documents."""
    known = [decode_header(entry.value)[0] for entry in received.values()]
    epoch = max(header.epoch for header in known) + 1
    ahead_ms = wall_clock() + AHEAD_MS
    producer = SpoolProducer(data_dir / "spool", settings.bus.lanes, clock=lambda: ahead_ms)
    for lane in range(settings.bus.lanes):
        header = Header(known[0].collector, epoch, lane, 0, ahead_ms, settings.bus.lanes)
        producer.send(lane, encode(header, None))
    producer.close()


def answer_to(received: Received) -> Answer:
    oracle = Oracle()
    for place in sorted(received):
        oracle.take_entry(received[place].value, received[place].append_ms)
    return oracle.answer()


@pytest.mark.slow
def test_up_and_its_pipeline_killed_while_traffic_comes(tmp_path: Path) -> None:
    data_dir, port, chance = tmp_path / "data", free_port(), random.Random(20)
    received: Received = {}
    delivered: list[Path] = []
    for round_number in range(2):
        expect = tmp_path / f"{round_number}.json"
        with ready(data_dir, port) as up:
            generator = send(port, expect, seed=round_number, seconds=8)
            for _ in range(2):
                pause(chance.uniform(0.5, 4))
                os.kill(up.child("pipeline"), signal.SIGKILL)
                up.wait_for("pipeline ready")
            assert generator.wait(60) == 0
            delivered.append(expect)
            while octets_waiting(port):
                pause(0.02)
            pause(chance.uniform(0, 1.5))
            os.killpg(up.process.pid, signal.SIGKILL)
            assert up.end() == -signal.SIGKILL
        note_entries(data_dir, received)
    finish_and_compare(data_dir, received)
    assert sums(flows(data_dir)) == sent(delivered)


def test_a_killed_up_started_again_at_once_waits_for_the_services_of_the_first(tmp_path: Path) -> None:
    port = free_port()
    with ready(tmp_path, port) as first:
        first.process.kill()
        first.process.wait()
        with ready(tmp_path, port) as second:
            assert second.end() == 0
    assert not [line for line in second.lines if "error" in line or "ended with code" in line]


@pytest.mark.slow
def test_pipeline_killed_again_and_again_over_a_full_spool(tmp_path: Path) -> None:
    """From its start to its end one and the same backlog, in small runs."""
    made = nephrite("generate", "small", "--bus", f"spool:{tmp_path}/data/spool", "--rate", "150", "--duration", "30")
    assert made.code == 0, made.err
    received: Received = {}
    note_entries(tmp_path / "data", received)
    chance = random.Random(21)
    small_runs = {**EXACT, "NEPHRITE_PIPELINE__RUN_BYTES": str(1 << 20), "NEPHRITE_PIPELINE__RUN_INTERVAL_MS": "50"}
    for _ in range(4):
        with running("pipeline", "--data-dir", tmp_path / "data", changes=small_runs) as pipeline:
            pipeline.wait_for("ready")
            pause(chance.uniform(0, 1.2))
            pipeline.end(signal.SIGKILL)
    finish_and_compare(tmp_path / "data", received)


def finish_and_compare(data_dir: Path, received: Received) -> None:
    settings = load_settings(None, {**EXACT, "NEPHRITE_DATA_DIR": str(data_dir)}).model_copy(update={"data_dir": str(data_dir)})
    close_windows(data_dir, settings, received)
    with open_embedded(settings) as embedded:
        embedded.driver.drain()
    answer = answer_to(received)
    assert answer.documents
    assert answer.counts.repeats == 0
    assert stored_documents(data_dir) == expected_documents(answer)


def sums(raw: list[dict[str, int]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for flow in raw:
        found.update({(str(flow["exporter"]), name): flow[name] for name in ("bytes", "packets")})
        found[str(flow["exporter"]), "flows"] += 1
    return found


def sent(reports: list[Path]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for report in reports:
        for account in json.loads(report.read_text(encoding="utf-8"))["delivered"]:
            found.update({(account["exporter"], name): account[name] for name in ("bytes", "packets", "flows")})
    return found


@pytest.mark.slow
def test_replay_killed_at_any_moment_and_run_again(tmp_path: Path) -> None:
    capture, expect = tmp_path / "a.pcap", tmp_path / "a.json"
    made = nephrite("generate", "small", "--pcap", capture, "--rate", "60", "--expect", expect)
    assert made.code == 0, made.err
    chance = random.Random(22)
    for _ in range(4):
        replay = Service("replay", capture, "--data-dir", tmp_path, "--into", "set", changes=EXACT)
        try:
            replay.process.wait(chance.uniform(0.5, 3.5))
        except subprocess.TimeoutExpired:
            replay.process.kill()
        replay.end(signal.SIGKILL)
    for _ in range(2):
        done = nephrite("replay", capture, "--data-dir", tmp_path, "--into", "set", changes=EXACT)
        assert done.code == 0, done.err
    answer = json.loads(expect.read_text(encoding="utf-8"))
    data_set = tmp_path / "replay" / "set"
    assert differences(stored_documents(data_set), Answer(answer["documents"], answer["counts"])) == []
    assert sums(flows(data_set)) == sent([expect])
