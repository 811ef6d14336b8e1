"""`nephrite inventory`: gather nodes and networks into the snapshot that the pipeline's workers map."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from columns.ranges import halves
from columns.rules.stored import stored_flows
from columns.snapshot import ANYWHERE, LABELS, Snapshot, open_snapshot
from common.addresses import pack_address
from common.clock import wall_clock
from common.errors import NephriteError, StoreError, UsageError
from common.process import stop_event
from common.rows import RowFormat, RowFormatOption, Value, render_rows
from inventory.fetch import SnapshotFetcher
from inventory.gather import Gatherer
from inventory.serve import SNAPSHOT_PATH, serving
from inventory.settings import read_settings
from inventory.sources import sources_of
from inventory.unknown import unknown_exporters

inventory_app = typer.Typer(help="Nodes, interfaces and networks: what flows are enriched with.", no_args_is_help=True)

SourcesFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with the sources of the inventory.")]
SnapshotFile = Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A snapshot.")]
Row = tuple[Value, ...]


def app_commands(app: typer.Typer) -> None:
    """Registers `inventory`."""
    app.add_typer(inventory_app, name="inventory")


@inventory_app.command()
def build(sources: SourcesFile, form: RowFormatOption = RowFormat.TABLE) -> None:
    """Ask all sources once and put the snapshot in place; fails if a source never answered."""
    gatherer = _gatherer(sources)
    changed = gatherer.refresh()
    typer.echo(render_rows(("source", "nodes", "age s", "state", "problems"), _states(gatherer), form), nl=False)
    typer.echo(f"snapshot {gatherer.version} {'written' if changed else 'unchanged'}", err=True)
    missing = [state.name for state in gatherer.states.values() if not state.good_ms]
    if missing:
        raise NephriteError(f"sources that never answered: {', '.join(missing)}")


@inventory_app.command()
def run(
    sources: SourcesFile,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Serve the snapshot and /metrics here.")] = "",
) -> None:
    """Ask all sources again and again, and put a new snapshot in place whenever something changed."""
    gatherer, stopped = _gatherer(sources), stop_event()
    if not listen:
        follow_sources(gatherer, stopped)
        return
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) >= 1 << 16:
        raise UsageError(f"--listen {listen}: is no HOST:PORT")
    with serving(gatherer, host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)) as taken:
        typer.echo(f"inventory ready: http://{host or '127.0.0.1'}:{taken}{SNAPSHOT_PATH}", err=True)
        follow_sources(gatherer, stopped)


@inventory_app.command()
def fetch(
    url: Annotated[str, typer.Argument(help="URL of a snapshot.")],
    into: SnapshotFile,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Ask again and again; 0 asks once.")] = 0.0,
) -> None:
    """Keep a copy of another host's snapshot up to date."""
    fetcher = SnapshotFetcher(url, into)
    changed = fetcher.fetch()
    typer.echo(f"{into} {'written' if changed else 'unchanged'}", err=True)
    if every > 0:
        stopped = stop_event()
        while not stopped.wait(every):
            try:
                fetcher.fetch()
            except NephriteError as error:
                typer.echo(f"warning: {error}", err=True)


@inventory_app.command()
def show(
    snapshot: SnapshotFile,
    address: Annotated[str, typer.Argument(help="An address; without one, how much there is of what.")] = "",
    location: Annotated[str, typer.Option(help="Location that the address is seen from.")] = "",
    form: RowFormatOption = RowFormat.TABLE,
) -> None:
    """Show what a snapshot knows, of an address or altogether."""
    opened = open_snapshot(snapshot)
    rows = _about(opened, address, location) if address else _sizes(opened)
    typer.echo(render_rows(("what", "value"), rows, form), nl=False)


@inventory_app.command()
def unknown(
    snapshot: SnapshotFile,
    flows: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Parquet files or folders of stored flows.")],
    form: RowFormatOption = RowFormat.TABLE,
) -> None:
    """List exporters of stored flows that the snapshot does not know, those with most flows first."""
    rows = unknown_exporters(open_snapshot(snapshot), stored_flows(flows))
    typer.echo(render_rows(("exporter", "location", "flows"), rows, form), nl=False)


def follow_sources(gatherer: Gatherer, stopped: threading.Event) -> None:
    """Refresh until `stopped`; every change and every new failure is a line."""
    failing: set[str] = set()
    while True:
        try:
            if gatherer.refresh():
                typer.echo(f"snapshot {gatherer.version} written", err=True)
        except StoreError as error:
            typer.echo(f"warning: {error}", err=True)
        for state in gatherer.states.values():
            if state.failed and state.name not in failing:
                typer.echo(f"warning: {state.name}: {state.problems[0] if state.problems else 'failed'}", err=True)
        failing = {state.name for state in gatherer.states.values() if state.failed}
        if stopped.wait(gatherer.settings.refresh_s):
            return


def _gatherer(path: Path) -> Gatherer:
    settings = read_settings(path)
    return Gatherer(settings, path.parent, sources_of(settings, path.parent))


def _states(gatherer: Gatherer) -> Iterator[Row]:
    now = wall_clock()
    for state in gatherer.states.values():
        yield state.name, len(state.nodes), state.age_s(now), "failed" if state.failed else "ok", "; ".join(state.problems) or None


def _sizes(snapshot: Snapshot) -> Iterator[Row]:
    yield "version", snapshot.version
    yield "made_ms", snapshot.made_ms
    for name, table in snapshot.tables.items():
        yield name, len(table)


def _about(snapshot: Snapshot, text: str, location: str) -> Iterator[Row]:
    try:
        address = halves(pa.array([pack_address(text)], pa.binary(16)))
    except ValueError as error:
        raise UsageError(f"'{text}' is no address") from error
    place = np.array([snapshot.location_ids.get(location, ANYWHERE)], np.int32)
    (node,) = snapshot.nodes_at(address, place).tolist()
    if node >= 0:
        yield from snapshot.tables["nodes"][node].as_py().items()
    rows = {name: int(snapshot.ranges[name].look_up(address)[0]) for name in snapshot.ranges}
    if rows["labels"] >= 0:
        labels = snapshot.tables["labels"][rows["labels"]].as_py()
        yield from ((name, labels[name]) for name in LABELS)
    if rows["systems"] >= 0:
        system = snapshot.tables["systems"][rows["systems"]].as_py()
        yield from (("as", system["number"]), ("as name", system["name"]))
    if rows["countries"] >= 0:
        yield "country", snapshot.tables["countries"][rows["countries"]].as_py()["code"]
