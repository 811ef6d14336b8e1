"""`nephrite pipeline` and `nephrite up`: the pipeline as a service, and everything on one machine."""

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from common.clock import wall_clock
from common.config import Query, Settings
from common.errors import ConfigError, StoreError, UsageError
from common.logs import set_up_logs
from common.options import ConfigFile, DataDir, listener_of, settings_of, store_of
from common.process import WITH_PARENT, stop_event
from common.times import parse_time

if TYPE_CHECKING:
    from stores.cascade import Cascade

_TARGET: Final = (
    "elasticsearch://HOST:PORT as for `nephrite setup`, or `store.url`; else the data folder, which `nephrite up` does by itself."
)
_SERVICES: Final = ("ingest", "pipeline")
_STOP_S: Final = 20.0
_RESTART_S: Final = (1.0, 30.0)


def app_commands(app: typer.Typer) -> None:
    """Registers `pipeline`, `rollup` and `up`."""
    app.command()(pipeline)
    app.command()(rollup)
    app.command()(up)


RangeFrom = Annotated[
    str, typer.Option("--from", metavar="TIME", help="Read only what the bus took from then on, and end: a back-fill.")
]
RangeTo = Annotated[str, typer.Option("--to", metavar="TIME", help="And before then; by default now.")]


def pipeline(config: ConfigFile = None, data_dir: DataDir = None, from_: RangeFrom = "", to: RangeTo = "") -> None:
    """Run the embedded pipeline: bus -> windows, aggregates and raw flows -> Parquet.

    With --from it reads a range of the bus into a data folder that no pipeline has used, closes all windows, and ends.
    """
    settings = settings_of(config, data_dir)
    require_folder(settings, data_dir)
    set_up_logs(settings.logs.form, settings.logs.level)
    if from_ or to:
        fill_back(settings, range_of(from_, to))
        return
    stopped = stop_event()
    serve(settings, stopped)


def require_folder(settings: Settings, data_dir: Path | None) -> None:
    """Raises ConfigError where questions go to a store that the embedded pipeline does not write."""
    if url := store_of(settings, data_dir):
        place = url.partition("?")[0]
        raise ConfigError([f"store.url: {place} is written by a job on Flink; the embedded pipeline needs it empty, or --data-dir"])


def range_of(from_: str, to: str) -> tuple[int, int]:
    """Both ends in milliseconds; raises UsageError."""
    now_ms = wall_clock()
    if not from_:
        raise UsageError("--to without --from: say where the range begins")
    from_ms, to_ms = parse_time(from_, now_ms), parse_time(to, now_ms) if to else now_ms
    if from_ms >= to_ms:
        raise UsageError(f"--from {from_} is not before --to {to or 'now'}")
    return from_ms, to_ms


def fill_back(settings: Settings, span: tuple[int, int]) -> None:
    """A range of the bus into a data folder of its own; raises UsageError where the folder has something else already."""
    from pipelines.backfill import back_fill

    flows = back_fill(settings, *span)
    typer.echo(f"{flows} flows of the range are in {settings.data_dir}", err=True)


def serve(settings: Settings, stopped: threading.Event) -> None:
    """Micro-batches until `stopped`, with the store's upkeep between them."""
    from pipelines.embedded import open_embedded
    from pipelines.pages import watched

    with open_embedded(settings) as embedded, watched(settings, lambda: embedded.driver.standing) as port:
        if port is not None:
            typer.echo(f"watch: http://{settings.pipeline.watch_host}:{port}/", err=True)
        typer.echo("pipeline ready", err=True)
        embedded.run_until(stopped)


def rollup(
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help=_TARGET)] = "",
    every_s: Annotated[
        float, typer.Option("--every", min=0, metavar="SECONDS", help="Look again this often until stopped; 0 looks once.")
    ] = 0,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make hours of minutes and days of hours, as far as they are complete and not made yet; twice changes nothing."""
    from pipelines.embedded import enricher_of, limits_of
    from pipelines.rollup import Rules, roll_up

    settings = settings_of(config, data_dir)
    rules = Rules(limits_of(settings.pipeline), enricher_of(settings.enrichment), settings.pipeline.wide)
    stopped = stop_event()
    with cascade_of(target or store_of(settings, data_dir), settings) as store:
        while not stopped.is_set():
            count = 0
            for due in roll_up(store, rules, stopped):
                count += 1
                start = datetime.fromtimestamp(due.window_start_ms // 1000, UTC)
                typer.echo(f"{due.level} {start:%Y-%m-%dT%H:%MZ}: {len(due.lanes)} lanes")
            if not every_s:
                typer.echo(f"{count} windows made" if count else "nothing to make")
                return
            stopped.wait(every_s)


@contextmanager
def cascade_of(target: str, settings: Settings) -> Iterator["Cascade"]:
    """The store that a target names: of the data folder, where there is none. Raises StoreError, ConfigError."""
    if target:
        from pipelines.elasticsearch_sinks import spelled
        from stores.elasticsearch.cascade import ElasticsearchCascade
        from stores.elasticsearch.client import Client
        from stores.elasticsearch.target import Target

        with ElasticsearchCascade(Client.open(Target.parse(target)), spelled) as cascade:
            yield cascade
        return
    from stores.parquet.cascade import ParquetCascade
    from stores.parquet.manifest import Manifest

    folder = Path(settings.data_dir)
    Manifest.open(folder, writer=False).close()  # a folder without data is told, not made
    with Manifest.open(folder, writer=True) as manifest:
        yield ParquetCascade(manifest)


def up(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Listen here instead of as configured.")] = "",
) -> None:
    """Run everything on this machine: ingest, pipeline and HTTP service on the embedded default."""
    settings = settings_of(config, data_dir)
    require_folder(settings, data_dir)
    if listen:
        listener_of(listen)  # told here once, not by the service again and again
    stopped = stop_event()
    held = _hold(Path(settings.data_dir), stopped)
    arguments = [*(["--config", str(config)] if config else []), "--data-dir", settings.data_dir]
    children: list[Child] = []
    try:
        for name in (*_SERVICES, *(["serve"] if serves(settings.query) else [])):
            children.append(Child([name, *arguments, *(["--listen", listen] if listen and name == "ingest" else [])], held))
        while not stopped.wait(0.2):
            for child in children:
                child.keep_running()
    finally:
        for child in reversed(children):
            child.stop()
        os.close(held)


def serves(settings: Query) -> bool:
    """Whether `up` answers over HTTP: it does without where another program has the port."""
    if not settings.with_up:
        return False
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        typer.echo(f"serve: {settings.host} port {settings.port}: {error.strerror or error}; going on without HTTP", err=True)
        return False
    return True


def _hold(data_dir: Path, stopped: threading.Event) -> int:
    """A descriptor that locks the folder for one `up` and its services, who inherit it; raises StoreError.

    Where the holder was killed, its services are about to stop: they get the time that they may take for it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        held = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror or error}") from error
    until = time.monotonic() + _STOP_S + 5
    while not _locked(held):
        holder = os.pread(held, 32, 0).decode("ascii", "replace").strip()
        if time.monotonic() > until or stopped.wait(0.1) or Path(f"/proc/{holder or 'self'}").exists():
            os.close(held)
            raise StoreError(f"{data_dir}: `nephrite up`, process {holder or 'unknown'}, works in this folder; stop it first")
    os.ftruncate(held, 0)
    os.pwrite(held, f"{os.getpid()}\n".encode("ascii"), 0)
    return held


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Child:
    """One service in a process of its own; it stops when this process is gone, however that happened."""

    def __init__(self, arguments: list[str], held: int) -> None:
        self._arguments = arguments
        self._held = held
        self._delay_s = _RESTART_S[0]
        self._started = 0.0
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.keep_running()

    def keep_running(self) -> None:
        """Starts the service where it does not run; after a failure with growing delay, after bad configuration not at all."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self._start(now)
            return
        code = self._process.poll()
        if code is None:
            return
        if code == ConfigError.exit_code:
            raise typer.Exit(code)  # the service has said why
        self._process = None
        self._delay_s = _RESTART_S[0] if now - self._started > 60 else min(self._delay_s * 2, _RESTART_S[1])
        self._due = now + self._delay_s
        typer.echo(f"{self._arguments[0]} ended with code {code}; starting it again in {self._delay_s:.0f} s", err=True)

    def stop(self) -> None:
        """Asks the service to finish what it has; ends it when it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            typer.echo(f"{self._arguments[0]} did not stop within {_STOP_S:.0f} s and was ended", err=True)
            self._process.kill()

    def _start(self, now: float) -> None:
        self._started = now
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nephrite", *self._arguments],
            stdin=subprocess.PIPE,
            env={**os.environ, WITH_PARENT: "1"},
            pass_fds=[self._held],
            start_new_session=True,
        )
