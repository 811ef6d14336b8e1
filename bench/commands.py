"""`nephrite bench`: how much this machine takes, as JSON."""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import UsageError

bench_app = typer.Typer(help="Measure this machine; prints JSON.", no_args_is_help=True)
_FILE = typer.Argument(metavar="[FILE.pcap]", help="A capture instead of generated traffic.")


def app_commands(app: typer.Typer) -> None:
    """Registers `bench`."""
    app.add_typer(bench_app, name="bench")


@bench_app.command()
def decode(capture: Annotated[Path | None, _FILE] = None) -> None:
    """Packets in memory -> canonical columns -> batches, one core."""
    _print(importlib.import_module("bench.decode").measure(capture))


@bench_app.command()
def pipeline(
    capture: Annotated[Path | None, _FILE] = None,
    seconds: Annotated[int, typer.Option(min=5, help="Seconds of generated traffic at the scenario's rate.")] = 20,
) -> None:
    """Batches -> enriched, classified, aggregated documents on the in-process runner."""
    _print(importlib.import_module("bench.pipeline").measure(capture, seconds))


def _print(result: dict[str, Any]) -> None:
    if not result:
        raise UsageError("nothing was measured: the capture has no flows")
    typer.echo(json.dumps(result, indent=2))
