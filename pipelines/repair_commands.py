"""`nephrite repair`: windows that miss late flows, listed or put right.

In: the data folder of the embedded store, or an Elasticsearch with the bus that still has the flows. Out: what was repaired, what
could not be and why. Refuses to wait: what is not ready yet is told and left to the next call.
"""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from common.config import Settings
from common.options import ConfigFile, DataDir, settings_of
from stores.parquet.carried import Queued

_COLUMNS: Final = ("window", "lane", "flows", "shares", "problem")


class Form(StrEnum):
    """How a list is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


def app_commands(app: typer.Typer) -> None:
    """Registers `repair`."""
    app.command()(repair)


def repair(
    show: Annotated[bool, typer.Option("--list", help="Only show what waits for a repair, oldest windows first.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also try again what could not be repaired.")] = False,
    form: Annotated[Form, typer.Option("--format", "-f", help="How the list is written.")] = Form.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Recompute windows from what came too late for them; `nephrite up` does this by itself, five minutes after the last of it."""
    settings = settings_of(config, data_dir)
    if show:
        write(listed(settings), form)
    else:
        _repair_embedded(settings, again)


def listed(settings: Settings) -> Sequence[Queued]:
    """The queue of the embedded store; raises StoreError."""
    from stores.parquet.manifest import Manifest

    with Manifest.open(Path(settings.data_dir), writer=False) as manifest:
        return manifest.queue()


def write(queue: Sequence[Queued], form: Form) -> None:
    """The queue on standard output."""
    rows = [dict(zip(_COLUMNS, _values(entry), strict=True)) for entry in queue]
    if form is Form.JSON:
        typer.echo(json.dumps(rows))
    elif form is Form.NDJSON:
        typer.echo("".join(f"{json.dumps(row)}\n" for row in rows), nl=False)
    elif form is Form.CSV:
        writer = csv.DictWriter(sys.stdout, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    elif not rows:
        typer.echo("nothing waits for a repair")
    else:
        typer.echo(f"{'WINDOW':<20} {'LANE':>4} {'LATE FLOWS':>12} {'SHARES':>12}  PROBLEM")
        for entry in queue:
            window, lane, flows, shares, problem = _values(entry)
            typer.echo(f"{window:<20} {lane:>4} {flows:>12,} {shares:>12,}  {problem}".rstrip())


def _values(entry: Queued) -> tuple[str, int, int, int, str]:
    time = datetime.fromtimestamp(entry.window_start_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return time, entry.lane, entry.late.flows, entry.late.shares, entry.problem


def _repair_embedded(settings: Settings, again: bool) -> None:
    from pipelines.embedded import enricher_of, limits_of
    from pipelines.repair import Ready, repair_all
    from stores.parquet.manifest import Manifest

    folder = Path(settings.data_dir)
    if not listed(settings):
        typer.echo("nothing waits for a repair")
        return
    done: list[Queued] = []
    failed: list[Queued] = []
    with Manifest.open(folder, writer=True) as manifest:
        ready = Ready(0, again)
        for some_done, some_failed in repair_all(manifest, limits_of(settings.pipeline), enricher_of(settings.enrichment), ready):
            done += some_done
            failed += some_failed
            typer.echo(f"{len(done)} windows repaired", err=True)
        left = len(manifest.queue()) - len(failed)
    tell(done, failed, left)


def tell(done: Sequence[Queued], failed: Sequence[Queued], left: int) -> None:
    """What became of everything; raises Exit(1) where something could not be repaired."""
    typer.echo(f"repaired: {len(done)} windows with {sum(entry.late.flows for entry in done):,} late flows")
    if left > 0:
        typer.echo(f"waiting: {left} windows, whose last mark is still to come or that were given up (see --list, --again)")
    for entry in failed[:20]:
        typer.echo(f"not repaired: {_values(entry)[0]}, lane {entry.lane}: {entry.problem}", err=True)
    if failed:
        raise typer.Exit(1)
