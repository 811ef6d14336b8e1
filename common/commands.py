"""`nephrite config`: check, dump and document the configuration."""

import importlib
import json
from typing import Annotated, TypeGuard, get_args

import typer
import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from common.config import Settings
from common.options import ConfigFile, DataDir, settings_of

config_app = typer.Typer(help="Check, show and document the configuration.", no_args_is_help=True)


def app_commands(app: typer.Typer) -> None:
    """Registers `config`."""
    app.add_typer(config_app, name="config")


@config_app.command()
def check(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Also try what it names: bus, topics, store, rules, inventory, data folder, receivers."),
    ] = False,
) -> None:
    """Read the configuration and say whether it can be used; all faults at once."""
    settings = settings_of(config, data_dir)
    # Rooms that know more are known here by name alone, as in the table of commands.
    importlib.import_module("ingest.checking").check_settings(settings, are_ports_ours=True)
    if connect:
        findings = list(importlib.import_module("pipelines.reachable").try_out(settings))
        for finding in findings:
            typer.echo(f"{'FAULT' if finding.wrong else 'ok   '} {finding.what}: {finding.found}")
        if any(finding.wrong for finding in findings):
            raise typer.Exit(1)
    typer.echo("configuration is usable")


@config_app.command()
def dump(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Print the configuration in force, defaults included, as YAML."""
    typer.echo(yaml.safe_dump(settings_of(config, data_dir).model_dump(mode="json"), sort_keys=False), nl=False)


@config_app.command()
def docs(section: Annotated[str, typer.Argument(help="Only this section.")] = "") -> None:
    """Print every setting with its default and meaning, as Markdown."""
    typer.echo(document(Settings, ""), nl=False) if not section else typer.echo(
        document(_section(section), section + "."), nl=False
    )


def document(model: type[BaseModel], prefix: str) -> str:
    """A Markdown table of one model's plain fields, followed by those of the models below it."""
    rows, below = [], []
    for name, field in model.model_fields.items():
        if _is_model(field.annotation):
            below.append(document(field.annotation, f"{prefix}{name}."))
        else:
            rows.append(f"| `{prefix}{name}` | `{_default(field)}` | {field.description} |")
            below.extend(document(item, f"{prefix}{name}[].") for item in get_args(field.annotation) if _is_model(item))
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows, ""]) + "\n" + "".join(below)


def _default(field: FieldInfo) -> str:
    """As JSON; of models only what was set."""
    if field.is_required():
        return "required"
    return json.dumps(TypeAdapter[object](field.annotation or object).dump_python(field.default, mode="json", exclude_unset=True))


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _section(name: str) -> type[BaseModel]:
    field = Settings.model_fields.get(name)
    if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
        raise typer.BadParameter(f"no section {name!r}", param_hint="SECTION")
    return field.annotation
