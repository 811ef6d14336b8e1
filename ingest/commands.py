"""`nephrite ingest` and `nephrite decode`: the service, and packets of a capture as canonical records."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bus.open import open_producer
from common.config import Listener, Settings
from common.errors import UsageError
from common.metrics import Counters
from common.options import ConfigFile, DataDir, settings_of
from common.process import stop_event
from ingest.decoding import Shown, Wish, decode_captures
from ingest.listeners.pcap import captures_of
from ingest.render import Format
from ingest.service import IngestService

_CHECK_S = 0.5


def app_commands(app: typer.Typer) -> None:
    """Registers `ingest` and `decode`."""
    app.command()(ingest)
    app.command()(decode)


def ingest(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    listen: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="Listen here instead of as configured.")] = None,
) -> None:
    """Receive NetFlow and IPFIX over UDP, decode it, and put batches on the bus."""
    settings = settings_of(config, data_dir)
    if listen:
        wanted = tuple(map(listener_of, listen))
        settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"listeners": wanted})})
    stopped = stop_event()
    producer = open_producer(settings.bus, Path(settings.data_dir), Counters())
    try:
        service = IngestService(settings, producer)
        service.start()
        typer.echo(ready_line(service), err=True)
        while not stopped.wait(_CHECK_S) and not service.wait(0):
            continue
        service.stop()
    finally:
        producer.close()


def ready_line(service: IngestService) -> str:
    """What tells that datagrams are taken from now on, and where."""
    return f"ingest ready: {' '.join(map(str, service.endpoints))}"


def listener_of(text: str) -> Listener:
    """HOST:PORT, [IPv6]:PORT or PORT; raises UsageError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"--listen {text}: expected HOST:PORT, [IPv6]:PORT or PORT")
    return Listener(host=host.strip("[]") or "0.0.0.0", port=int(port))


def decode(
    file: Annotated[Path, typer.Argument(help="Capture (pcap or pcapng), or a folder of captures.")],
    config: ConfigFile = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How records are written.")] = Format.TABLE,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, help="Stop after this many records.")] = None,
    columns: Annotated[str, typer.Option(help="Columns to show, with commas between them; `all` for every one.")] = "",
    port: Annotated[list[int] | None, typer.Option(help="Only datagrams to this UDP port; may be given again.")] = None,
    options: Annotated[bool, typer.Option("--options", help="Show what options data said instead of flows.")] = False,
    templates: Annotated[bool, typer.Option("--templates", help="Show the templates instead of flows.")] = False,
    problems: Annotated[bool, typer.Option("--problems", help="Show what could not be decoded instead of flows.")] = False,
) -> None:
    """Decode a capture of export packets into canonical records; nothing is stored."""
    if options + templates + problems > 1:
        raise UsageError("--options, --templates and --problems cannot be combined")
    shown = Shown.OPTIONS if options else Shown.TEMPLATES if templates else Shown.PROBLEMS if problems else Shown.FLOWS
    settings: Settings = settings_of(config, None)
    wish = Wish(shown, form, limit, tuple(columns.split(",")) if columns else (), tuple(port or ()))
    for line in decode_captures(captures_of(file), settings.ingest, wish, sys.stdout):
        typer.echo(line, err=True)
