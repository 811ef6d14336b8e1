"""What the `nephrite inventory` commands do, loaded when one of them is called.

In: paths and texts from the command line. Out: rows on the terminal, a snapshot in its place. Refuses to know options.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import typer

from columns.ranges import halves
from columns.rules.stored import stored_flows
from columns.snapshot import ANYWHERE, LABELS, Snapshot, open_snapshot
from common.addresses import pack_address
from common.clock import wall_clock
from common.errors import InputError, NephriteError, StoreError, UsageError
from common.process import stop_event
from common.rows import RowFormat, Value, render_rows
from inventory.fetch import SnapshotFetcher
from inventory.gather import Gatherer
from inventory.serve import SNAPSHOT_PATH, serving
from inventory.settings import read_settings
from inventory.sources import sources_of
from inventory.unknown import unknown_exporters

Row = tuple[Value, ...]


def build(sources: Path, form: RowFormat) -> None:
    """Ask all sources once; raises InputError if one never answered."""
    gatherer = gatherer_of(sources)
    changed = gatherer.refresh()
    typer.echo(render_rows(("source", "nodes", "age s", "state", "problems"), _states(gatherer), form), nl=False)
    typer.echo(f"snapshot {gatherer.version} {'written' if changed else 'unchanged'}", err=True)
    missing = [state.name for state in gatherer.states.values() if not state.good_ms]
    if missing:
        raise InputError(f"sources that never answered: {', '.join(missing)}")


def run(sources: Path, listen: str) -> None:
    """Ask all sources until a signal comes, and serve the snapshot meanwhile if there is a place to listen."""
    gatherer = gatherer_of(sources)
    if not listen:
        follow_sources(gatherer, stop_event())
        return
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) >= 1 << 16:
        raise UsageError(f"--listen {listen}: is no HOST:PORT")
    with serving(gatherer, host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)) as taken:
        typer.echo(f"inventory ready: http://{host or '127.0.0.1'}:{taken}{SNAPSHOT_PATH}", err=True)
        follow_sources(gatherer, stop_event())


def fetch(url: str, into: Path, every_s: float) -> None:
    """Fetch a snapshot, once or until a signal comes; only the first time a failure ends it."""
    fetcher = SnapshotFetcher(url, into)
    changed = fetcher.fetch()
    typer.echo(f"{into} {'written' if changed else 'unchanged'}", err=True)
    if every_s > 0:
        follow_url(fetcher, every_s, stop_event())


def show(snapshot: Path, address: str, location: str, form: RowFormat) -> None:
    """Print what a snapshot knows of an address, or how much it has."""
    opened = open_snapshot(snapshot)
    rows = _about(opened, address, location) if address else _sizes(opened)
    typer.echo(render_rows(("what", "value"), rows, form), nl=False)


def unknown(snapshot: Path, flows: Sequence[Path], form: RowFormat) -> None:
    """Print exporters of stored flows that a snapshot does not know."""
    rows = unknown_exporters(open_snapshot(snapshot), stored_flows(flows))
    typer.echo(render_rows(("exporter", "location", "flows"), rows, form), nl=False)


def follow_url(fetcher: SnapshotFetcher, every_s: float, stopped: threading.Event) -> None:
    """Fetch until `stopped`; every failure is a line."""
    while not stopped.wait(every_s):
        try:
            fetcher.fetch()
        except NephriteError as error:
            typer.echo(f"warning: {error}", err=True)


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


def gatherer_of(path: Path) -> Gatherer:
    """The gatherer of a settings file; raises ConfigError."""
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
