"""Configuration: typed models with a sentence per field, read from YAML and the environment.

In: a YAML file (or none) and variables NEPHRITE_SECTION__FIELD. Out: `Settings`, or a ConfigError with every fault at once, each
with its place. An unknown key is a fault. The sections are in `common.sections`. Refuses to know what the settings do.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from common.errors import ConfigError
from common.sections.groupings import Groupings, OwnGrouping
from common.sections.ingest import CUSTOMARY, CaptureFolder, Certificates, ElementSettings, ExporterSettings, Ingest, Listener
from common.sections.pipeline import Enrichment, Pipeline, Series
from common.sections.places import Bus, Logs, Query, Store
from common.sections.section import Section

_PREFIX: Final = "NEPHRITE_"
_SECRET: Final = frozenset({"token", "prometheus_token", "prometheus", "url"})
"""Settings that are secrets, or URLs that may hold one: errors do not repeat their values."""


class Settings(Section):
    """Everything that can be set."""

    data_dir: str = Field("nephrite-data", description="Folder of spool, manifest and Parquet files.")
    logs: Logs = Logs()
    ingest: Ingest = Ingest()
    bus: Bus = Bus()
    pipeline: Pipeline = Pipeline()
    enrichment: Enrichment = Enrichment()
    series: Series = Series()
    store: Store = Store()
    query: Query = Query()

    @model_validator(mode="after")
    def _edges_are_known(self) -> Self:
        if self.pipeline.edge_only and not self.enrichment.inventory:
            raise ValueError("pipeline.edge_only needs enrichment.inventory, which says which interfaces are external")
        return self


def load_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of a YAML file with the environment on top; raises ConfigError with all faults."""
    tree = {} if path is None else _read(path)
    where = "configuration" if path is None else str(path)
    for name, value in sorted(environment.items()):
        if name.startswith(_PREFIX) and "__" in name:
            _put(tree, name.removeprefix(_PREFIX).lower().split("__"), _value(name, value))
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError([f"{where}: {_describe(fault)}" for fault in error.errors()]) from error


def _value(name: str, text: str) -> Any:
    """The variable as YAML; one line is a mapping only in braces, since `spool:` is a URL."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"environment: {name}: not YAML: {' '.join(str(error).split())}"]) from error
    return text if isinstance(value, dict) and not text.lstrip().startswith("{") and "\n" not in text else value


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: the top level must be a mapping, not {type(tree).__name__}"])
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: Annotated[object, "any YAML value"]) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError([f"environment: {'.'.join(keys)} is below a value"])
        tree = below
    tree[keys[-1]] = value


def _describe(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "top level"
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such setting"
    got = "" if _SECRET.intersection(fault["loc"]) else f" (got {fault['input']!r})"
    return f"{place}: {fault['msg'][:1].lower()}{fault['msg'][1:]}{got}"


__all__ = [
    "Bus",
    "CUSTOMARY",
    "CaptureFolder",
    "Certificates",
    "ElementSettings",
    "Enrichment",
    "ExporterSettings",
    "Groupings",
    "Ingest",
    "Listener",
    "Logs",
    "OwnGrouping",
    "Pipeline",
    "Query",
    "Series",
    "Settings",
    "Store",
    "load_settings",
]
