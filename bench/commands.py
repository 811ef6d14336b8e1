"""`nephrite bench`: how much this machine takes, as JSON."""

import functools
import importlib
import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import UsageError
from common.process import collect_rarely, keep_memory


class Protocol(StrEnum):
    """What a sender can speak."""

    V5 = "v5"
    V9 = "v9"
    IPFIX = "ipfix"
    SFLOW = "sflow"


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
def ingest(
    protocol: Annotated[Protocol, typer.Argument(help="What the sender speaks.")] = Protocol.V9,
    rate: Annotated[float, typer.Option(min=1, help="Flows a second.")] = 90_000,
    seconds: Annotated[float, typer.Option(min=1)] = 5,
    bus: Annotated[str, typer.Option(metavar="URL", help="Where batches go: spool:, kafka://host:9092/topic.")] = "spool:",
    highest: Annotated[bool, typer.Option("--highest", help="Raise the rate until something is lost.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also goflow2, nfcapd and pmacct, where they are on the PATH.")] = False,
    table: Annotated[bool, typer.Option("--table", help="All protocols and peers, highest rates too: ten minutes.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Table: seconds instead of minutes, to see that all of it works.")] = False,
    write: Annotated[Path | None, typer.Option(metavar="PAGE.md", help="Put the table into this page, too.")] = None,
) -> None:
    """A paced sender over loopback UDP -> ingest -> the bus; CPU of the ingest process alone."""
    keep_memory()  # as `nephrite ingest` does
    collect_rarely()
    if table:
        _table(bus, write, quick)
        return
    module = importlib.import_module("bench.ingest")
    run = module.highest(protocol.value, seconds, bus) if highest else module.measure(protocol.value, rate, seconds, bus)
    _print(asdict(run))
    for peer in module.peers(protocol.value, rate, seconds) if peers else ():
        _print(asdict(peer))


@bench_app.command()
def pipeline(
    capture: Annotated[Path | None, _FILE] = None,
    seconds: Annotated[int, typer.Option(min=5, help="Seconds of generated traffic at the scenario's rate.")] = 20,
) -> None:
    """Batches -> enriched, classified, aggregated documents on the in-process runner."""
    _print(importlib.import_module("bench.pipeline").measure(capture, seconds))


@bench_app.command()
def matrix(
    quick: Annotated[bool, typer.Option("--quick", help="Two cases of seven, and less traffic.")] = False,
    flink: Annotated[bool, typer.Option("--flink/--no-flink", help="Also on a Flink of its own on this machine.")] = True,
    write: Annotated[Path | None, typer.Option(metavar="PAGE.md", help="Put the table into this page, too.")] = None,
) -> None:
    """The pipeline's speed table: CPU per flow by interfaces, hosts and K, on the in-process runner and on Flink."""
    tell = functools.partial(typer.echo, err=True)
    importlib.import_module("bench.matrix").measure(quick, flink, write, typer.echo, tell)


@bench_app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="Under load; an hour says more than ten minutes.")] = 60,
    idle_minutes: Annotated[float, typer.Option(min=0.5, help="Flink: before that, with nothing to do.")] = 10,
    rate: Annotated[int, typer.Option(min=1, help="Flows a second; a job on Flink gets four seconds' worth in each.")] = 5_000,
    flink: Annotated[bool, typer.Option("--flink/--up", help="A job on Flink, or everything on this machine.")] = True,
    write: Annotated[Path | None, typer.Option(metavar="PAGE.md", help="Put the table into this page, too.")] = None,
) -> None:
    """Memory under a constant load by minute, and whether all that was sent is in the documents; prints minutes as they pass."""
    module = importlib.import_module("bench.soak_page")
    _print(module.measure(flink, minutes, idle_minutes, rate, write, lambda line: typer.echo(line, err=True)))


@bench_app.command()
def sizing(
    flows: Annotated[int, typer.Option(min=0, help="Flows a second.")] = 0,
    interfaces: Annotated[int, typer.Option(min=1)] = 400,
) -> None:
    """Cores, slots and bytes that a site needs, by a model out of measured costs; without --flows those of some sites."""
    module = importlib.import_module("bench.sizing")
    typer.echo("\n".join(module.lines(((flows, interfaces),) if flows else module.SITES)))


def _table(bus: str, write: Path | None, quick: bool) -> None:
    module = importlib.import_module("bench.ingest_table")
    plan = module.QUICK if quick else module.Plan()
    text = module.measure_table(plan, bus if bus.startswith("kafka:") else "", lambda line: typer.echo(line, err=True))
    typer.echo(text)
    if write is not None:
        module.put_into(write, text)


def _print(result: dict[str, Any]) -> None:
    if not result:
        raise UsageError("nothing was measured: the capture has no flows")
    typer.echo(json.dumps(result, indent=2))
