"""`nephrite config check --connect`: each part is tried, and told."""

import socket
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.commands import config_app
from common.config import Bus, Enrichment, Series, Settings
from pipelines.reachable import Finding, try_out
from tests.servers.kafka import KafkaServer


def found(settings: Settings) -> dict[str, Finding]:
    return {finding.what: finding for finding in try_out(settings)}


def test_defaults_are_fine_and_make_nothing(tmp_path: Path) -> None:
    findings = found(Settings(data_dir=str(tmp_path / "data")))
    assert {what: finding.wrong for what, finding in findings.items()} == dict.fromkeys(
        ("data_dir", "bus.url", "enrichment"), False
    )
    assert not (tmp_path / "data").exists()


def test_every_fault_is_told(tmp_path: Path) -> None:
    (tmp_path / "rules.csv").write_text("no;rules;at all\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    settings = Settings(
        data_dir=str(tmp_path),
        bus=Bus(url=f"kafka://{nobody}/flows"),
        enrichment=Enrichment(rules=str(tmp_path / "rules.csv")),
        series=Series(graphite=nobody, prometheus=f"http://{nobody}/api/v1/write"),
    )
    findings = found(settings)
    assert [what for what, finding in findings.items() if finding.wrong] == [
        "bus.url", "enrichment", "series.graphite", "series.prometheus",
    ]  # fmt: skip
    assert findings["bus.url"].found == f"kafka {nobody} cannot be reached: Connection refused; is it running, and bus.url right?"
    assert findings["series.graphite"].found == f"{nobody}: Connection refused"


def test_the_command_ends_with_1_for_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "nephrite.yaml"
    file.write_text("series: {graphite: '127.0.0.1:1'}\n")
    result = CliRunner().invoke(config_app, ["check", "--connect", "--config", str(file), "--data-dir", str(tmp_path)])
    assert (result.exit_code, "FAULT series.graphite: 127.0.0.1:1: Connection refused" in result.output) == (1, True)


@pytest.mark.server("kafka")
def test_topics_are_looked_at_and_not_made(kafka: KafkaServer) -> None:
    missing = f"reachable-{uuid.uuid4().hex[:8]}"
    for _ in range(2):
        finding = found(Settings(bus=Bus(url=f"kafka://{kafka.bootstrap}/{missing}")))["bus.url"]
        assert (finding.wrong, "is not there yet" in finding.found) == (False, True)
    topic = kafka.new_topic(1, {"message.timestamp.type": "CreateTime"})
    finding = found(Settings(bus=Bus(url=f"kafka://{kafka.bootstrap}/{topic}")))["bus.url"]
    assert (finding.wrong, "message.timestamp.type=LogAppendTime" in finding.found) == (True, True)
