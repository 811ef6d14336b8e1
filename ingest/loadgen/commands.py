"""`nephrite generate`: synthetic exporters to UDP, a capture file or a bus, with the exact answer; `nephrite resend`: a capture."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bus.open import open_direct_producer
from common.clock import wall_clock
from common.config import Bus
from common.errors import InputError, UsageError
from common.process import stop_event
from ingest.listeners.pcap import Capture
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.network import Arrival
from ingest.loadgen.outputs import CaptureFile, Pace, UdpSender, full_speed, real_time
from ingest.loadgen.resend import Account, find_target
from ingest.loadgen.resend import resend as send_again
from ingest.loadgen.run import Player, Run, counts_of
from ingest.loadgen.scenario import Scenario, load_scenario

Speed = Literal["real", "max"]
CAPTURE_START_MS: Final = 1_767_225_600_000
"""2026-01-01: captures of one seed are the same, whenever they are made."""
_FLUSH_S: Final = 60.0
_AHEAD_MS: Final = 1_500
_NOTED: Final = 64

_YEAR_10000_MS: Final = 253_402_300_800_000


def app_commands(app: typer.Typer) -> None:
    """Registers `generate` and `resend`."""
    app.command()(generate)
    app.command()(resend)


def generate(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Name of a built-in scenario, or a YAML file.")] = "",
    to: Annotated[list[str] | None, typer.Option(metavar="udp://HOST:PORT", help="Send there; once for each collector.")] = None,
    pcap: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a capture file.")] = None,
    bus: Annotated[str, typer.Option(metavar="URL", help="Put batches on this bus: spool:/path, kafka://host:9092/topic.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Other traffic of the same shape.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Flows a second.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, metavar="S", help="Seconds of virtual time.")] = None,
    start: Annotated[str, typer.Option(metavar="TIME", help="Virtual start: ISO 8601, or milliseconds since 1970.")] = "",
    expect: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the exact answer there, as JSON.")] = None,
    speed: Annotated[Speed | None, typer.Option(help="real: by the clock (default for UDP); max: as fast as it goes.")] = None,
    list_scenarios: Annotated[bool, typer.Option("--list", help="Print the built-in scenarios.")] = False,
) -> None:
    """Play synthetic exporters (NetFlow v5, v9, IPFIX, sFlow) to UDP, a capture file or a bus, and know the exact answer."""
    if list_scenarios:
        _print_scenarios()
        return
    if not scenario:
        raise UsageError("generate: give a scenario (`nephrite generate --list` shows the built-in ones)")
    if sum(map(bool, (to, pcap, bus))) != 1:
        raise UsageError("generate: give one of --to udp://HOST:PORT, --pcap FILE, --bus URL")
    chosen = _changed(load_scenario(scenario, BUILTIN), seed, rate, duration)
    pace = speed or ("real" if to else "max")
    begin = _start(start, chosen, pace, bool(pcap))
    stopped = stop_event().is_set
    with _progress(chosen, closing=bool(bus)) as advance:
        player = Player(chosen, begin, advance, stopped)
        if to:
            run = _to_udp(player, to, pace, expect is not None)
        elif pcap:
            run = _to_capture(player, pcap, expect is not None)
        else:
            run = _to_bus(player, bus, pace, expect is not None)
    if expect:
        _write_json(expect, run)
    _print_counts(run)


def resend(
    capture: Annotated[Path, typer.Argument(metavar="FILE.pcap", help="Capture of export packets (pcap or pcapng).")],
    to: Annotated[str, typer.Option(metavar="udp://HOST:PORT", help="Send there.")],
    speed: Annotated[Speed, typer.Option(help="real: at the pace of the capture; max: as fast as it goes.")] = "real",
    port: Annotated[list[int] | None, typer.Option(min=1, max=65_535, help="Only datagrams that went to this port.")] = None,
) -> None:
    """Send the datagrams of a capture again, to a UDP address. Exporters of 127.0.0.0/8 keep their addresses on this machine."""
    target, file, stopped = find_target(*_target(to)), Capture(capture, port or ()), stop_event().is_set

    def pace_from(first_ms: int) -> Pace:
        return real_time(first_ms, wall_clock(), stopped) if speed == "real" else full_speed(stopped)

    with _counting(capture.name) as note:
        account = send_again(file.datagrams(), target, pace_from, note)
    if not account.datagrams and not stopped():
        raise InputError(f"{capture}: nothing to send: no whole UDP datagram{' to these ports' if port else ''} in it")
    _print_account(account, file)


def _changed(scenario: Scenario, seed: int | None, rate: float | None, duration: float | None) -> Scenario:
    wanted = {"seed": seed, "rate": rate, "duration_s": duration}
    return scenario.model_copy(update={name: value for name, value in wanted.items() if value is not None})


def _start(text: str, scenario: Scenario, pace: Speed, capture: bool) -> int:
    """The virtual start: whole seconds, so that the first datagrams show each exporter's clock well.

    On a bus at full speed it lies so far back that no mark is ahead of the bus's clock.
    """
    if text:
        return _moment(text)
    if capture:
        return CAPTURE_START_MS
    if pace == "real":
        return (wall_clock() + _AHEAD_MS + 999) // 1000 * 1000
    return (wall_clock() - round(scenario.duration_s * 1000) - scenario.closing_ms) // 60_000 * 60_000 - 60_000


def _moment(text: str) -> int:
    if text.isdigit() and int(text) < _YEAR_10000_MS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text!r}: neither ISO 8601 nor milliseconds since 1970") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _to_udp(player: Player, targets: list[str], speed: Speed, with_answer: bool) -> Run:
    sender = UdpSender(player.scenario, [_target(target) for target in targets])
    pace = _pace(player, speed)
    try:
        return player.to_network(lambda arrivals: sender.send(arrivals, pace), with_answer, ready=speed == "max")
    finally:
        sender.close()


def _to_capture(player: Player, path: Path, with_answer: bool) -> Run:
    with CaptureFile(path, player.scenario) as capture:

        def write(arrivals: list[Arrival]) -> int:
            capture.write(arrivals)
            return len(arrivals)

        return player.to_network(write, with_answer)


def _to_bus(player: Player, url: str, speed: Speed, with_answer: bool) -> Run:
    producer = open_direct_producer(Bus(url=url), Path())
    pace = _pace(player, speed)

    def send(entry: BusEntry) -> bool:
        if not pace(entry.append_ms):
            return False
        producer.send(entry.lane, entry.value)
        return True

    try:
        run = player.to_bus(send, with_answer)
        producer.flush(_FLUSH_S)
        return run
    finally:
        producer.close()


def _pace(player: Player, speed: Speed) -> Pace:
    """By the clock: from the virtual start on where that is still to come, else from now on."""
    if speed == "max":
        return full_speed(player.stopped)
    return real_time(player.start_ms, max(player.start_ms, wall_clock()), player.stopped)


def _target(text: str) -> tuple[str, int]:
    host, colon, port = text.removeprefix("udp://").rpartition(":")
    if not text.startswith("udp://") or not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"--to {text!r}: expected udp://HOST:PORT")
    return host, int(port)


@contextmanager
def _progress(scenario: Scenario, closing: bool) -> Iterator[Callable[[str, int], None]]:
    """A bar over virtual time, on the error output of a terminal."""
    console = Console(stderr=True)
    total = round(scenario.duration_s * 1000) + (scenario.closing_ms if closing else 0)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(scenario.name, total=total)
        yield lambda doing, reached_ms: bar.update(task, description=f"{scenario.name}: {doing}", completed=reached_ms)


@contextmanager
def _counting(name: str) -> Iterator[Callable[[int, Account], None]]:
    """Datagrams and the time of the capture reached, on the error output of a terminal; how long it will take nobody knows."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def note(time_ms: int, account: Account) -> None:
            if account.datagrams % _NOTED == 1:
                reached = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")
                bar.update(task, description=f"{name}: {account.datagrams:,} datagrams, {reached}")

        yield note


def _write_json(path: Path, run: Run) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(run.as_json(), ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _print_scenarios() -> None:
    table = Table("scenario", "flows/s", "seconds", "exporters", "collectors", "what", box=None)
    for name, scenario in BUILTIN.items():
        cells = (f"{scenario.rate:g}", f"{scenario.duration_s:g}", str(len(scenario.fleet())), str(len(scenario.collectors)))
        table.add_row(name, *cells, scenario.help)
    Console().print(table)


def _print_counts(run: Run) -> None:
    table = Table("what", "count", box=None, show_header=False)
    table.add_row("start", datetime.fromtimestamp(run.start_ms / 1000, UTC).isoformat(timespec="milliseconds"))
    for name, count in counts_of(run).items():
        table.add_row(name, f"{count:,}")
    Console().print(table)


def _print_account(account: Account, capture: Capture) -> None:
    counts = {"datagrams sent": account.datagrams, "octets sent": account.octets, "exporters": len(account.sources)}
    counts |= {"exporters at their own address": len(account.shown), "too long": account.too_long} | capture.problems()
    table = Table("what", "count", box=None, show_header=False)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    Console().print(table)
    if capture.damage:
        typer.echo(capture.damage, err=True)
