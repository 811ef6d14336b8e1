"""What people and programs are told of a lossy line: shares near the truth, by reason, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from query.commands import app_commands
from query.honesty import sampling_error
from tests.ledger.collected import FLEET, MINUTE, Collected, bus_of, collect, drain, scenario_of
from tests.loadgen.rows import START_MS

RANGE = ("--from", str(START_MS), "--to", str(START_MS + MINUTE))
app = typer.Typer(pretty_exceptions_enable=False)
app_commands(app)


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Collected]:
    folder = tmp_path_factory.mktemp("lossy")
    collected = collect(scenario_of(loss=0.15, rate=600))
    drain(bus_of(collected.batches), folder)
    return folder, collected


def ask(folder: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, *RANGE, "-d", str(folder), "--format", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("question", [("top", "applications"), ("series",), ("flows",), ("exporters",), ("ledger",)])
def test_every_answer_says_what_it_misses(lossy: tuple[Path, Collected], question: tuple[str, ...]) -> None:
    folder, collected = lossy
    known = ask(folder, *question)["completeness"]
    arrived, sent = sum(collected.arrived.values()), sum(collected.sent.values())
    assert known["estimate"]
    assert known["flows_seen"] == arrived
    assert known["share"] == pytest.approx(arrived / sent, abs=0.01)
    assert {name for name, count in known["flows_lost"].items() if count} == {"on_the_way"}


def test_of_one_exporter_it_is_that_exporter_s(lossy: tuple[Path, Collected]) -> None:
    folder, collected = lossy
    for exporter in FLEET:
        known = ask(folder, "top", "hosts", "-e", exporter.address)["completeness"]
        assert known["flows_seen"] == collected.arrived[exporter.address]
        truth = collected.sent[exporter.address] - collected.arrived[exporter.address]
        assert known["flows_lost"]["on_the_way"] == pytest.approx(truth, rel=0.25)


def test_people_are_told_in_a_line(lossy: tuple[Path, Collected]) -> None:
    result = CliRunner().invoke(app, ["top", "hosts", *RANGE, "-d", str(lossy[0])], catch_exceptions=False)
    assert "of the flows were seen; lost: " in result.stderr
    assert "on the way to the collector (estimate)" in result.stderr


@pytest.mark.parametrize(
    ("packets", "sampled", "scaled", "error"),
    [
        (10_000, 100, 10_000, 0.196),
        (1_000_000, 10_000, 1_000_000, 0.0196),
        (2_500, 100, 10_000, 0.392),
        (1, 100, 10_000, 1.96),
        (0, 100, 10_000, None),
        (10_000, 0, 0, None),
        (10_000, 500, 500, None),
    ],
)
def test_the_error_of_sampling(packets: int, sampled: int, scaled: int, error: float | None) -> None:
    found = sampling_error(packets, sampled, scaled)
    assert found is None if error is None else found == pytest.approx(error)
