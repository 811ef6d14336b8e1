"""The `nephrite inventory` commands, as a user types them."""

import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from common.errors import InputError, UsageError
from inventory.commands import app_commands
from inventory.fetch import SnapshotFetcher
from inventory.gather import Gatherer
from inventory.serve import SNAPSHOT_PATH, serving
from inventory.settings import read_settings
from inventory.sources import sources_of
from inventory.tasks import follow_sources, follow_url


def _run(*arguments: str | Path) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app_commands(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["inventory", *map(str, arguments)])


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "nodes.yaml").write_text(
        "- {label: core, location: Berlin, addresses: [10.0.0.1], categories: [A], vendor: Cisco}\n"
    )
    (tmp_path / "labels.csv").write_text("network;site\n10.0.0.0/8;ten\n")
    path = tmp_path / "inventory.yaml"
    path.write_text("sources: [{type: file, path: nodes.yaml}]\nlabels: labels.csv\n")
    return path


def test_build_and_show(sources: Path) -> None:
    built = _run("build", sources, "--format", "json")
    assert built.exit_code == 0
    assert [(row["source"], row["nodes"], row["state"]) for row in json.loads(built.stdout)] == [
        ("file nodes.yaml", 1, "ok"),
        ("labels", 0, "ok"),
    ]
    snapshot = sources.parent / "inventory.arrow"
    shown = json.loads(_run("show", snapshot, "--format", "json").stdout)
    assert {row["what"]: row["value"] for row in shown if row["what"] in ("nodes", "addresses", "labels")} == {
        "nodes": 1,
        "addresses": 1,
        "labels": 2,
    }
    about = json.loads(_run("show", snapshot, "10.0.0.1", "--location", "Berlin", "--format", "json").stdout)
    assert {row["what"]: row["value"] for row in about if row["value"]} == {
        "label": "core",
        "categories": "A",
        "vendor": "Cisco",
        "site": "ten",
    }
    elsewhere = json.loads(_run("show", snapshot, "10.0.0.1", "--format", "json").stdout)
    assert {row["what"] for row in elsewhere if row["value"]} == {"site"}
    assert isinstance(_run("show", snapshot, "ten").exception, UsageError)


def test_a_source_that_never_answered_fails(sources: Path) -> None:
    (sources.parent / "nodes.yaml").unlink()
    result = _run("build", sources)
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "sources that never answered: file nodes.yaml"


def test_exporters_that_are_not_in_it(sources: Path, tmp_path: Path) -> None:
    _run("build", sources)
    exporters = ["10.0.0.1", "10.0.0.1", "10.0.0.9", "10.0.0.9", "10.0.0.9", None]
    table = pa.table({"exporter_addr": exporters, "location": ["Berlin", "Rome", "Berlin", "Berlin", None, "Berlin"]})
    for number in range(2):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    listed = _run("unknown", sources.parent / "inventory.arrow", tmp_path, "--format", "csv")
    assert listed.stdout == "exporter,location,flows\n10.0.0.9,Berlin,4\n10.0.0.1,Rome,2\n10.0.0.9,,2\n"
    pq.write_table(pa.table({"exporter_addr": ["10.0.0.8"]}), tmp_path / "other.parquet")
    listed = _run("unknown", sources.parent / "inventory.arrow", tmp_path / "other.parquet", "--format", "csv")
    assert listed.stdout == "exporter,location,flows\n10.0.0.8,,1\n"


def test_a_copy_of_another_hosts_snapshot(sources: Path, tmp_path: Path) -> None:
    _run("build", sources)
    settings = read_settings(sources)
    gatherer = Gatherer(settings, sources.parent, (), version="1")
    with serving(gatherer, "127.0.0.1", 0) as port:
        fetched = _run("fetch", f"http://127.0.0.1:{port}{SNAPSHOT_PATH}", tmp_path / "copy.arrow")
    assert (fetched.exit_code, fetched.stderr) == (0, f"{tmp_path / 'copy.arrow'} written\n")
    assert (tmp_path / "copy.arrow").read_bytes() == (sources.parent / "inventory.arrow").read_bytes()


@pytest.mark.parametrize("listen", ["x", "127.0.0.1:", "127.0.0.1:70000"])
def test_where_nobody_can_listen(sources: Path, listen: str) -> None:
    assert isinstance(_run("run", sources, "--listen", listen).exception, UsageError)


def test_the_service_says_what_changes_and_what_fails_once(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings(sources)
    gatherer = Gatherer(settings, sources.parent, sources_of(settings, sources.parent))

    class Rounds(threading.Event):
        left = 3

        def wait(self, timeout: float | None = None) -> bool:
            (sources.parent / "nodes.yaml").unlink(missing_ok=True)
            self.left -= 1
            return not self.left

    follow_sources(gatherer, Rounds())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"snapshot {gatherer.version} written", "warning"]


def test_a_copy_outlives_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Once(threading.Event):
        left = 2

        def wait(self, timeout: float | None = None) -> bool:
            self.left -= 1
            return not self.left

    follow_url(SnapshotFetcher("http://127.0.0.1:9/x", tmp_path / "copy.arrow"), 1.0, Once())
    assert capsys.readouterr().err.startswith("warning: http://127.0.0.1:9/x: ConnectionError")
