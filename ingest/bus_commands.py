"""`nephrite bus peek`: what is on a bus, without taking anything from it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bus.open import open_source
from common.errors import BusError, UsageError
from common.options import ConfigFile, DataDir, settings_of
from flowpb.codec import ContractError
from flowpb.schema import INGEST_SCHEMA
from ingest.peek import ENVELOPE, REPORT, Peeked, entries_from, envelope_row, flow_rows, report_rows
from ingest.render import Format, row_writer

bus_app = typer.Typer(help="Look at the bus.", no_args_is_help=True)


@bus_app.callback()
def bus() -> None:
    """Look at the bus."""


@bus_app.command()
def peek(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    url: Annotated[str, typer.Option("--bus", metavar="URL", help="This bus instead of the configured one.")] = "",
    partition: Annotated[list[int] | None, typer.Option(help="Only this partition; may be given again.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Begin at this entry.")] = None,
    last: Annotated[int | None, typer.Option(min=0, help="Only the last entries of each partition.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, help="Stop after this many lines.")] = None,
    show: Annotated[Peeked, typer.Option(help="Envelopes, exporters' reports, or the flows themselves.")] = Peeked.ENVELOPES,
    form: Annotated[Format, typer.Option("--format", "-f", help="How lines are written.")] = Format.TABLE,
) -> None:
    """Show batches on the bus: envelopes, reports or rows."""
    settings = settings_of(config, data_dir)
    place = settings.bus.model_copy(update={"url": url}) if url else settings.bus
    names = {Peeked.ENVELOPES: ENVELOPE, Peeked.REPORTS: REPORT, Peeked.ROWS: tuple(INGEST_SCHEMA.names)}[show]
    source = open_source(place, Path(settings.data_dir))
    try:
        wanted = partition or list(range(source.partitions))
        if wrong := [number for number in wanted if not 0 <= number < source.partitions]:
            raise UsageError(f"--partition {wrong[0]}: the bus has partitions 0 to {source.partitions - 1}")
        writer = row_writer(form, names, sys.stdout)
        left = limit
        for entry in entries_from(source, wanted, offset, last):
            if left == 0:
                break
            try:
                rows = [envelope_row(entry)] if show is Peeked.ENVELOPES else None
                rows = rows or (report_rows(entry) if show is Peeked.REPORTS else flow_rows(entry, names))
            except ContractError as error:
                raise BusError(f"partition {entry.partition} offset {entry.offset}: {error}") from error
            writer.write(rows[:left])
            left = None if left is None else max(0, left - len(rows))
        writer.close()
    finally:
        source.close()
