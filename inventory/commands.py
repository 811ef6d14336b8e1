"""`nephrite inventory`: gather nodes and networks into the snapshot that the pipeline's workers map."""

from pathlib import Path
from typing import Annotated

import typer

from common.rows import RowFormat, RowFormatOption

inventory_app = typer.Typer(help="Nodes, interfaces and networks: what flows are enriched with.", no_args_is_help=True)

SourcesFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with the sources of the inventory.")]
SnapshotFile = Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A snapshot.")]


def app_commands(app: typer.Typer) -> None:
    """Registers `inventory`."""
    app.add_typer(inventory_app, name="inventory")


@inventory_app.command()
def build(sources: SourcesFile, form: RowFormatOption = RowFormat.TABLE) -> None:
    """Ask all sources once and put the snapshot in place; fails if a source never answered."""
    from inventory import tasks

    tasks.build(sources, form)


@inventory_app.command()
def run(
    sources: SourcesFile,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Serve the snapshot and /metrics here.")] = "",
) -> None:
    """Ask all sources again and again, and put a new snapshot in place whenever something changed."""
    from inventory import tasks

    tasks.run(sources, listen)


@inventory_app.command()
def fetch(
    url: Annotated[str, typer.Argument(help="URL of a snapshot.")],
    into: SnapshotFile,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Ask again and again; 0 asks once.")] = 0.0,
) -> None:
    """Keep a copy of another host's snapshot up to date."""
    from inventory import tasks

    tasks.fetch(url, into, every)


@inventory_app.command()
def show(
    snapshot: SnapshotFile,
    address: Annotated[str, typer.Argument(help="An address; without one, how much there is of what.")] = "",
    location: Annotated[str, typer.Option(help="Location that the address is seen from.")] = "",
    form: RowFormatOption = RowFormat.TABLE,
) -> None:
    """Show what a snapshot knows, of an address or altogether."""
    from inventory import tasks

    tasks.show(snapshot, address, location, form)


@inventory_app.command()
def unknown(
    snapshot: SnapshotFile,
    flows: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Parquet files or folders of stored flows.")],
    form: RowFormatOption = RowFormat.TABLE,
) -> None:
    """List exporters of stored flows that the snapshot does not know, those with most flows first."""
    from inventory import tasks

    tasks.unknown(snapshot, flows, form)
