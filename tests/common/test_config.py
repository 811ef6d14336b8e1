"""Configuration: what is accepted, and that every fault is told at once with its place."""

from pathlib import Path

import pytest
import yaml

from common.commands import document
from common.config import Settings, load_settings
from common.errors import ConfigError


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
