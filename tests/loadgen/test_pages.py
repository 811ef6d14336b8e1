"""Pages about generated traffic say what the program does."""

from pathlib import Path

import yaml

from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.scenario import Scenario
from tests.loadgen.scenarios_page import PAGE, page

HOW_TO = PAGE.parents[1] / "how-to/synthetic-traffic.md"


def fenced(path: Path, language: str) -> list[str]:
    return [block.split("```")[0] for block in path.read_text(encoding="utf-8").split(f"```{language}\n")[1:]]


def test_the_reference_is_made_from_the_models() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.loadgen.scenarios_page"


def test_the_example_is_a_scenario() -> None:
    (example,) = fenced(HOW_TO, "yaml")
    scenario = Scenario.model_validate(yaml.safe_load(example))
    assert [exporter.protocol for exporter in scenario.fleet()] == ["ipfix", "sflow", "sflow", "sflow"]


def test_the_commands_name_scenarios_that_exist() -> None:
    commands = [line.split() for block in fenced(HOW_TO, "bash") for line in block.splitlines()]
    named = {words[2] for words in commands if words[1] == "generate"} - {"--list"}
    assert named == {"demo", "small", "lossy"} <= BUILTIN.keys()
