"""Configuration: what is accepted, and that every fault is told at once with its place."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from common.commands import config_app, document
from common.config import Settings, load_settings
from common.errors import ConfigError
from flowpb.groupings import AUTONOMOUS_SYSTEM, DEFAULT_VALUES, PROTOCOL, Scope, Values


def problems_of(path: Path | None, **environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment)
    return caught.value.problems


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_said_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(None, {}) == load_settings(written(tmp_path, ""), {}) == Settings()


def test_the_environment_is_on_top_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "ingest: {batch_flows: 7, batch_interval_ms: 100}")
    settings = load_settings(path, {"NEPHRITE_INGEST__BATCH_FLOWS": "9", "NEPHRITE_OTHER": "ignored", "PATH": "/bin"})
    assert (settings.ingest.batch_flows, settings.ingest.batch_interval_ms) == (9, 100)


def test_what_is_dumped_can_be_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, yaml.safe_dump(Settings().model_dump(mode="json")))
    assert load_settings(path, {}) == Settings()


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "bus: {urll: x, lanes: 0}\ningest: {codec: rar}\nnonsense: 1\n")
    assert sorted(problem.removeprefix(f"{path}: ") for problem in problems_of(path)) == [
        "bus.lanes: input should be greater than or equal to 1 (got 0)",
        "bus.urll: no such setting",
        "ingest.codec: input should be 'none', 'lz4' or 'zstd' (got 'rar')",
        "nonsense: no such setting",
    ]


def test_own_groupings_say_every_fault_with_its_place(tmp_path: Path) -> None:
    own = """
      - {name: Sites, columns: [src_site, dst_site]}
      - {name: hosts, columns: [vlan]}
      - {name: a, columns: [src_site, dst_as]}
      - {name: b, columns: [nonsense, bytes]}
      - {name: c, columns: [vlan, vlan], scopes: [planet]}
      - {name: d, columns: []}
    """
    path = written(tmp_path, f"pipeline:\n  groupings:\n    kinds: [as, asn]\n    own: {own}")
    found = [problem.removeprefix(f"{path}: pipeline.groupings.").split(" (got")[0] for problem in problems_of(path)]
    assert found == [
        "kinds.1: input should be 'as', 'country' or 'protocol'",
        "own.0.name: string should match pattern '^[a-z][a-z0-9_]{0,31}$'",
        "own.1.name: value error, hosts is a name of Nephrite's own, take another",
        "own.2.columns: value error, src_site and dst_as are of different types",
        "own.3.columns: value error, nonsense is no column of a flow; "
        "bytes cannot be ranked, it is neither a small number nor a text nor an address",
        "own.4.columns: value error, vlan is named twice",
        "own.4.scopes.0: input should be 'interface', 'exporter', 'location' or 'system'",
        "own.4.scopes: tuple should have at least 1 item after validation, not 0",
        "own.5.columns: tuple should have at least 1 item after validation, not 0",
    ]
    twice = written(tmp_path, "pipeline: {groupings: {own: [{name: a, columns: [vlan]}, {name: a, columns: [tos]}]}}")
    assert problems_of(twice)[0].startswith(f"{twice}: pipeline.groupings.own: value error, a is there more than once")


def test_the_edge_needs_an_inventory(tmp_path: Path) -> None:
    (problem,) = problems_of(written(tmp_path, "pipeline: {edge_only: true}"))
    assert "pipeline.edge_only needs enrichment.inventory" in problem
    assert load_settings(written(tmp_path, "pipeline: {edge_only: true}\nenrichment: {inventory: i.arrow}"), {}).pipeline.edge_only


def test_groupings_become_kinds_in_the_order_of_the_table(tmp_path: Path) -> None:
    text = "pipeline: {groupings: {kinds: [protocol, as], own: [{name: site, columns: [src_site, dst_site], scopes: [system]}]}}"
    values = load_settings(written(tmp_path, text), {}).pipeline.groupings.values()
    assert values == (AUTONOMOUS_SYSTEM, PROTOCOL, Values("SITE", ("src_site", "dst_site"), (Scope.SYSTEM,)))
    assert Settings().pipeline.groupings.values() == DEFAULT_VALUES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not YAML"),
        ("- 1\n- 2\n", "the top level must be a mapping, not list"),
        ("ingest: 5\n", "ingest: input should be a valid dictionary or instance of Ingest (got 5)"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems_of(written(tmp_path, text))
    assert said in problem
    assert "\n" not in problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "none.yaml")
    assert problem.startswith(f"{tmp_path / 'none.yaml'}: cannot be read")


def test_a_variable_may_be_a_url_that_ends_with_a_colon() -> None:
    assert load_settings(None, {"NEPHRITE_BUS__URL": "spool:"}).bus.url == "spool:"


def test_a_variable_that_is_no_yaml_is_named() -> None:
    (problem,) = problems_of(None, NEPHRITE_PIPELINE__TOP_K="[")
    assert problem.startswith("environment: NEPHRITE_PIPELINE__TOP_K: not YAML")


def test_a_variable_below_a_value_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "data_dir: here\n")
    assert problems_of(path, NEPHRITE_DATA_DIR__X="1") == ("environment: data_dir.x is below a value",)


def test_every_setting_is_documented() -> None:
    rows = [line for line in document(Settings, "").splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.rstrip().endswith("| None |") or row.rstrip().endswith("|  |")] == []


@pytest.mark.parametrize("text", ["query: {token: 123456}", "series: {prometheus: 'htps://123456@host'}", "bus: {url: [123456]}"])
def test_errors_do_not_repeat_secrets(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert "123456" not in str(caught.value)


def test_check_finds_what_only_ingest_knows(tmp_path: Path) -> None:
    path = written(tmp_path, "bus: {url: 'kafkas://host/topic'}\ningest: {elements: [{id: 1, name: x, type: y}]}\n")
    done = CliRunner().invoke(config_app, ["check", "--config", str(path)])
    assert isinstance(done.exception, ConfigError)
    assert [problem.split(":")[0] for problem in done.exception.problems] == ["bus.url", "ingest.elements"]
