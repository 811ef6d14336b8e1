"""`docs/reference/scenarios.md`, made from the models of scenarios: `python -m tests.loadgen.scenarios_page` writes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.scenario import Collector, Exporter, Network, Oddities, Sampling, Scenario

PAGE: Final = Path(__file__).parents[2] / "docs/reference/scenarios.md"
_HEAD: Final = """# Scenarios of synthetic traffic

Made from the program by `python -m tests.loadgen.scenarios_page`; a test compares this page with it.

`nephrite generate SCENARIO` takes a built-in scenario or a YAML file with the settings below.
A scenario, its seed and a start time fix every octet. [How to use it](../how-to/synthetic-traffic.md).

## Built in

| scenario | flows a second | seconds | exporters | interfaces | protocols | what |
|---|---|---|---|---|---|---|
"""
_PARTS: Final = (
    ("The scenario", Scenario),
    ("`exporters`, a list", Exporter),
    ("`exporters.sampling`", Sampling),
    ("`network`", Network),
    ("`collectors`, a list", Collector),
    ("`oddities`", Oddities),
)


def page() -> str:
    """The whole page."""
    sections = "".join(
        f"\n## {title}\n\n| setting | default | meaning |\n|---|---|---|\n{_settings(model)}" for title, model in _PARTS
    )
    return _HEAD + "".join(map(_row, BUILTIN.values())) + sections


def _row(scenario: Scenario) -> str:
    fleet = scenario.fleet()
    protocols = ", ".join(sorted({exporter.protocol for exporter in fleet}))
    interfaces = sum(exporter.interfaces for exporter in fleet)
    numbers = f"{scenario.rate:,g} | {scenario.duration_s:g} | {len(fleet)} | {interfaces:,}"
    return f"| `{scenario.name}` | {numbers} | {protocols} | {scenario.help} |\n"


def _settings(model: type[BaseModel]) -> str:
    return "".join(_lines(model))


def _lines(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "required"
        elif isinstance(field.default, BaseModel):
            default = "below"
        else:
            plain = (
                [part.model_dump(exclude_unset=True) for part in field.default]
                if isinstance(field.default, tuple)
                else field.default
            )
            default = f"`{json.dumps(plain)}`"
        yield f"| `{name}` | {default} | {field.description} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
