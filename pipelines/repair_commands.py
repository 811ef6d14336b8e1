"""`nephrite repair`: windows that miss late flows, listed or put right.

In: the data folder of the embedded store, or an Elasticsearch with the bus that still has the flows. Out: what was repaired, what
could not be and why. Refuses to wait: what is not ready yet is told and left to the next call.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from common.clock import wall_clock
from common.config import Settings
from common.options import ConfigFile, DataDir, settings_of, store_of
from stores.questions import Span
from stores.queued import Queued

if TYPE_CHECKING:
    from pipelines.bus_again import Again

_TARGET: Final = (
    "The Elasticsearch that a job on Flink writes to, as for `nephrite setup`, or `store.url`: flows come from the configured bus, "
    "which must still have them. Without it, the embedded store in the data folder: flows come from its raw flows, or from Kafka."
)
_ONLY_WIDE: Final = "repaired; location and system scope wait for other lanes"
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
    target: Annotated[str, typer.Argument(metavar="TARGET", help=_TARGET)] = "",
    show: Annotated[bool, typer.Option("--list", help="Only show what waits for a repair, oldest windows first.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also try again what could not be repaired.")] = False,
    settle: Annotated[int, typer.Option(min=0, metavar="SECONDS", help="Leave windows alone that got late flows since.")] = 0,
    form: Annotated[Form, typer.Option("--format", "-f", help="How the list is written.")] = Form.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Recompute windows from what came too late for them; `nephrite up` does this by itself, five minutes after the last of it."""
    settings = settings_of(config, data_dir)
    if url := target or store_of(settings, data_dir):
        _repair_elasticsearch(url, settings, show, Asked(again, settle * 1000, form))
    elif show:
        write(listed(settings), form)
    else:
        _repair_embedded(settings, Asked(again, settle * 1000, form))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be repaired."""

    again: bool
    settle_ms: int
    form: Form


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
    told = _ONLY_WIDE if entry.only_wide and not entry.problem else entry.problem
    return time, entry.lane, entry.late.flows, entry.late.shares, told


def _repair_embedded(settings: Settings, asked: Asked) -> None:
    from pipelines.embedded import enricher_of, flows_of_bus, limits_of
    from pipelines.repair import Flows, Ready, raw_flows, repair_all
    from stores.parquet.manifest import Manifest

    if not listed(settings):
        typer.echo("nothing waits for a repair")
        return
    limits, enricher = limits_of(settings.pipeline), enricher_of(settings.enrichment)
    done: list[Queued] = []
    with Manifest.open(Path(settings.data_dir), writer=True) as manifest:

        def attempt(flows: Flows, again: bool) -> list[Queued]:
            failed: list[Queued] = []
            for some_done, some_failed in repair_all(
                manifest, limits, enricher, Ready(asked.settle_ms, again, settings.pipeline.wide), flows
            ):
                done.extend(some_done)
                failed.extend(some_failed)
                typer.echo(f"{len(done)} windows repaired", err=True)
            return failed

        failed = attempt(raw_flows, asked.again)
        if failed and (bus := flows_of_bus(settings, enricher)):
            failed = attempt(bus, again=True)
        left = len(manifest.queue()) - len(failed)
    tell(done, failed, left)


def _repair_elasticsearch(url: str, settings: Settings, show: bool, asked: Asked) -> None:
    from pipelines.bus_again import flows_again
    from pipelines.embedded import enricher_of, limits_of, opener_of
    from pipelines.repair_elasticsearch import ready
    from pipelines.repair_elasticsearch import repair as repair_steps
    from pipelines.rollup import Rules
    from stores.elasticsearch.cascade import final_through
    from stores.elasticsearch.client import Client
    from stores.elasticsearch.repairs import read_queue
    from stores.elasticsearch.target import Target

    client = Client.open(Target.parse(url))
    queue = read_queue(client)
    if show:
        write(queue.entries, asked.form)
        return
    limits, enricher, opener = limits_of(settings.pipeline), enricher_of(settings.enrichment), opener_of(settings)
    chosen = ready(queue, final_through(client), wall_clock(), asked.settle_ms, asked.again)

    def again(entries: Sequence[Queued], span: Span) -> "Iterator[Again]":
        return flows_again(opener, settings.bus.lanes, enricher, entries, span)

    done: list[Queued] = []
    failed: list[Queued] = []
    for step in repair_steps(client, queue, chosen, again, Rules(limits, enricher, settings.pipeline.wide)):
        done += step.done
        failed += step.failed
        typer.echo(f"{len(done)} windows repaired", err=True)
    tell(done, failed, len(queue.entries) - len(done) - len(failed))


def tell(done: Sequence[Queued], failed: Sequence[Queued], left: int) -> None:
    """What became of everything; raises Exit(1) where something could not be repaired."""
    typer.echo(f"repaired: {len(done)} windows with {sum(entry.late.flows for entry in done):,} late flows")
    if left > 0:
        typer.echo(f"waiting: {left} windows, whose last marks are still to come or that were given up (see --list, --again)")
    for entry in failed[:20]:
        typer.echo(f"not repaired: {_values(entry)[0]}, lane {entry.lane}: {entry.problem}", err=True)
    if failed:
        raise typer.Exit(1)
