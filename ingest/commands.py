"""`nephrite ingest`, `decode`, `bus` and `dead-letters`: the service, and looking at what comes in and goes out."""

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated, Final

import typer

from bus.open import open_producer
from common.config import Settings
from common.errors import ConfigError, NephriteError, UsageError
from common.logs import set_up_logs
from common.metrics import Counters
from common.options import ConfigFile, DataDir, listener_of, settings_of
from common.process import collect_rarely, keep_memory, stop_event
from common.watch import WatchServer
from ingest.bus_commands import bus_app
from ingest.captures import ingest_captures
from ingest.checking import check_settings
from ingest.dead_letter_commands import dead_letters_app
from ingest.decoding import Shown, Wish, decode_captures
from ingest.listeners.pcap import captures_of
from ingest.pages import pages_of
from ingest.processes import ProcessGroup, settings_of_process
from ingest.render import Format
from ingest.service import IngestService, collector_name
from ingest.tap import FlowTap, parse_condition

_CHECK_S: Final = 0.5
_PROGRAM: Final = ("-m", "nephrite")


def app_commands(app: typer.Typer) -> None:
    """Registers `ingest`, `decode`, `bus` and `dead-letters`."""
    app.command()(ingest)
    app.command()(decode)
    app.add_typer(bus_app, name="bus")
    app.add_typer(dead_letters_app, name="dead-letters")


def ingest(
    captures: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE_OR_FOLDER]...", help="Captures to put on the bus, instead of listening.")
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    listen: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="Listen here instead of as configured.")] = None,
    tap: Annotated[bool, typer.Option("--tap", help="Write decoded flows to standard output as they come.")] = False,
    where: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Tap: only these flows.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="Tap: how flows are written.")] = Format.TABLE,
    process: Annotated[int | None, typer.Option(hidden=True)] = None,
    inherit: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Receive NetFlow, IPFIX and sFlow, decode it, and put batches on the bus. SIGHUP reads the configuration again.

    With captures (pcap or pcapng, or folders of them) those are put on the bus, and that is all.
    """

    def read() -> Settings:
        settings = _listening_on(settings_of(config, data_dir), listen or [])
        return settings if process is None else settings_of_process(settings, process, collector_name(settings.ingest))

    settings = read()
    set_up_logs(settings.logs.form, settings.logs.level)
    if captures:
        if listen or tap or where:
            raise UsageError("captures are read in place of listening: --listen, --tap and --where do not go with them")
        _put_captures(captures, settings)
        return
    if process is None:
        check_settings(settings)
    stopped, reload = stop_event(), _reload_event()
    if settings.ingest.processes > 1 and process is None:
        _serve_in_processes(settings, stopped, reload)
        return
    keep_memory()
    flow_tap = FlowTap(sys.stdout, form, [parse_condition(each) for each in where or []]) if tap or where else None
    bus_counters = Counters()
    with ExitStack() as closing:
        producer = open_producer(settings.bus, Path(settings.data_dir), bus_counters)
        closing.callback(producer.close)
        service = IngestService(settings, producer, tap=flow_tap, inherited=[int(fd) for fd in inherit.split(",") if fd])
        if settings.ingest.watch_port is not None:
            place = settings.ingest.watch_host, settings.ingest.watch_port
            watch = WatchServer(*place, pages_of(service, bus_counters), "ingest.watch_port")
            closing.callback(watch.stop)
            watch.start()
            typer.echo(f"watch: http://{settings.ingest.watch_host}:{watch.port}/", err=True)
        if flow_tap is not None:
            flow_tap.start()
            closing.callback(flow_tap.stop)
        service.start()
        collect_rarely()
        typer.echo(ready_line(service), err=True)
        while not stopped.wait(_CHECK_S) and service.status().running:
            if reload.is_set():
                reload.clear()
                _reload(service, read)
        service.stop()
        if not stopped.is_set():
            raise NephriteError("ingest ended by itself: one of its threads failed, see above")


def _put_captures(places: list[Path], settings: Settings) -> None:
    paths = [path for place in places for path in captures_of(place)]
    with closing(open_producer(settings.bus, Path(settings.data_dir), Counters())) as producer:
        for line in ingest_captures(paths, settings, collector_name(settings.ingest), producer):
            typer.echo(line, err=True)


def _serve_in_processes(settings: Settings, stopped: Event, reload: Event) -> None:
    ingest = settings.ingest
    group = ProcessGroup(ingest.listeners, ingest.processes, [sys.executable, *_PROGRAM, *sys.argv[1:]])
    try:
        while not stopped.wait(_CHECK_S):
            group.keep_running()
            if reload.is_set():
                reload.clear()
                group.signal(signal.SIGHUP)
    finally:
        group.stop()


def _listening_on(settings: Settings, listen: list[str]) -> Settings:
    if not listen:
        return settings
    wanted = tuple(map(listener_of, listen))
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"listeners": wanted})})


def _reload_event() -> Event:
    wanted = Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        wanted.set()

    signal.signal(signal.SIGHUP, note)
    return wanted


def _reload(service: IngestService, read: Callable[[], Settings]) -> None:
    """Bring a changed configuration into force; on any error the last good one stays."""
    try:
        settings = read()
        check_settings(settings, are_ports_ours=True)
        waiting = service.reload(settings)
    except ConfigError as error:
        service.refuse_reload()
        for problem in error.problems:
            typer.echo(f"configuration not reloaded: {problem}", err=True)
        return
    typer.echo("configuration reloaded" + (f"; in force after a restart: {', '.join(waiting)}" if waiting else ""), err=True)


def ready_line(service: IngestService) -> str:
    """What tells that datagrams are taken from now on, and where."""
    return f"ingest ready: {' '.join(map(str, service.endpoints))}"


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
    counters: Annotated[bool, typer.Option("--counters", help="Show interface counters of sFlow agents instead of flows.")] = False,
) -> None:
    """Decode a capture of export packets into canonical records; nothing is stored."""
    asked = {Shown.OPTIONS: options, Shown.TEMPLATES: templates, Shown.PROBLEMS: problems, Shown.COUNTERS: counters}
    wanted = [shown for shown, is_wanted in asked.items() if is_wanted]
    if len(wanted) > 1:
        raise UsageError("--options, --templates, --problems and --counters cannot be combined")
    shown = wanted[0] if wanted else Shown.FLOWS
    settings: Settings = settings_of(config, None)
    wish = Wish(shown, form, limit, tuple(columns.split(",")) if columns else (), tuple(port or ()))
    for line in decode_captures(captures_of(file), settings.ingest, wish, sys.stdout):
        typer.echo(line, err=True)
