"""All sources together: what stays when one fails, over a restart too, and when there is a new snapshot."""

from pathlib import Path

import pytest

from columns.snapshot import open_snapshot
from common.errors import ConfigError, StoreError
from inventory.gather import Gatherer
from inventory.settings import read_settings, secret
from inventory.sources import sources_of
from tests.inventory.test_maxmind import database

_SETTINGS = (
    "sources:\n  - {type: file, path: nodes.yaml}\n  - {type: file, path: more.csv, name: more}\n"
    "labels: labels.csv\nas_database: as.mmdb\n"
)


def _gatherer(folder: Path, now: list[int]) -> Gatherer:
    settings = read_settings(folder / "inventory.yaml")
    return Gatherer(settings, folder, sources_of(settings, folder), lambda: now[0])


def _labels(folder: Path) -> list[str | None]:
    found: list[str | None] = open_snapshot(folder / "inventory.arrow").tables["nodes"].field("label").to_pylist()
    return found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "inventory.yaml").write_text(_SETTINGS)
    (tmp_path / "nodes.yaml").write_text("- {label: a, addresses: [10.0.0.1]}\n")
    (tmp_path / "more.csv").write_text("label;addresses;vendor\nignored;10.0.0.1;X\nb;10.0.0.2;Y\n")
    (tmp_path / "labels.csv").write_text("network;site\n10.0.0.0/8;ten\n")
    database(tmp_path / "as.mmdb", {"192.0.2.0/24": {"autonomous_system_number": 64_500}})
    return tmp_path


def test_a_new_snapshot_only_when_something_changed(files: Path) -> None:
    gatherer = _gatherer(files, [1000])
    assert gatherer.refresh()
    first = open_snapshot(files / "inventory.arrow")
    assert (first.made_ms, first.version, _labels(files)) == (1000, gatherer.version, ["a", "b"])
    assert not gatherer.refresh()
    assert not _gatherer(files, [2000]).refresh(), "nor after a restart"
    (files / "more.csv").write_text("label;addresses\nc;10.0.0.3\n")
    assert gatherer.refresh()
    assert _labels(files) == ["a", "c"]
    assert open_snapshot(files / "inventory.arrow").version != first.version


def test_a_source_that_fails_keeps_its_last_answer(files: Path) -> None:
    now = [1000]
    gatherer = _gatherer(files, now)
    gatherer.refresh()
    (files / "nodes.yaml").write_text("nonsense: [")
    (files / "labels.csv").write_text("nonsense")
    (files / "as.mmdb").write_bytes(b"nonsense")
    now[0] = 61_000
    assert not gatherer.refresh()
    states = gatherer.states
    assert {name: (state.failed, state.failures, state.age_s(now[0])) for name, state in states.items()} == {
        "file nodes.yaml": (True, 1, 60.0),
        "more": (False, 0, 0.0),
        "labels": (True, 1, 60.0),
        "as_database": (True, 1, 60.0),
    }
    assert "not YAML" in states["file nodes.yaml"].problems[0]


def test_last_answers_outlive_a_restart(files: Path) -> None:
    now = [1000]
    _gatherer(files, now).refresh()
    (files / "nodes.yaml").unlink()
    (files / "inventory.arrow").unlink()
    now[0] = 5000
    restarted = _gatherer(files, now)
    assert restarted.refresh()
    assert _labels(files) == ["a", "b"]
    assert restarted.states["file nodes.yaml"].age_s(now[0]) == 4.0


def test_a_damaged_memory_is_said(files: Path) -> None:
    _gatherer(files, [1000]).refresh()
    (files / "inventory-state" / "file_nodes_yaml.json").write_text("{")
    (files / "nodes.yaml").unlink()
    restarted = _gatherer(files, [2000])
    restarted.refresh()
    assert restarted.states["file nodes.yaml"].age_s(2000) is None
    assert _labels(files) == ["ignored", "b"]


def test_a_disk_that_takes_nothing(files: Path) -> None:
    (files / "inventory-state").write_text("a file where a folder should be")
    (files / "inventory.arrow").mkdir()
    gatherer = _gatherer(files, [1000])
    with pytest.raises(StoreError, match="cannot be written"):
        gatherer.refresh()
    assert "cannot be kept for a restart" in gatherer.states["more"].problems[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [{type: magic}]", "sources.0: Input tag 'magic'"),
        ("sources: [{type: opennms}]", "sources.0.opennms.url: Field required"),
        ("colour: red", "colour: Extra inputs"),
        ("sources: [{type: options}]", "needs either a path or a url"),
        ("a: [", "not YAML"),
    ],
)
def test_faults_of_settings(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "missing.yaml")


def test_every_kind_of_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = (
        "{type: opennms, url: 'http://h/', user: u, password_env: P}",
        "{type: json, url: 'http://j/', fields: {label: n}}",
        "{type: options, path: o.ndjson}",
        "{type: snmp, targets: [10.0.0.1], location: L}",
        "{type: options, path: o.ndjson}",
        "{type: options, url: 'http://o/names'}",
    )
    (tmp_path / "inventory.yaml").write_text("sources:\n" + "".join(f"  - {source}\n" for source in sources))
    monkeypatch.setenv("P", "x")
    names = [name for name, _ in sources_of(read_settings(tmp_path / "inventory.yaml"), tmp_path)]
    assert names == [
        "opennms http://h/",
        "json http://j/",
        "options o.ndjson",
        "snmp L",
        "options o.ndjson'",
        "options http://o/names",
    ]


def test_secrets() -> None:
    assert (secret("", {}), secret("A", {"A": "x"})) == ("", "x")
    with pytest.raises(ConfigError, match="A is not set"):
        secret("A", {})
