"""`nephrite dead-letters`: what could not be decoded, and again once it can."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from bus.open import open_producer
from common.addresses import format_address
from common.clock import wall_clock
from common.config import Settings
from common.errors import BusError, UsageError
from common.metrics import Counters
from common.options import ConfigFile, DataDir, settings_of
from ingest.batcher import Batcher, Identity
from ingest.board import ExporterBoard
from ingest.dead_letters import DeadLetter, pack_letter
from ingest.decoder import Decoder
from ingest.keeper import StateKeeper
from ingest.letter_places import letters_of
from ingest.line import Line
from ingest.observation import Observation
from ingest.render import Format, row_writer
from ingest.service import collector_name

_NAMES = ("number", "received_ms", "exporter", "octets", "partly", "reason", "text")
_FLUSH_S = 30.0
_LINE_OCTETS = 16

dead_letters_app = typer.Typer(help="Undecodable datagrams: list, show, decode again.", no_args_is_help=True)


@dead_letters_app.command("list")
def list_letters(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, help="Only the last ones.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How lines are written.")] = Format.TABLE,
) -> None:
    """List what could not be decoded, oldest first."""
    letters = list(letters_of(settings_of(config, data_dir)).read())
    writer = row_writer(form, _NAMES, sys.stdout)
    writer.write(
        (
            letter.number,
            letter.datagram.received_ms,
            format_address(letter.datagram.exporter),
            len(letter.datagram.payload),
            letter.partly,
            letter.reason,
            letter.text,
        )
        for letter in (letters if limit is None else letters[max(0, len(letters) - limit) :])
    )
    writer.close()


@dead_letters_app.command("show")
def show_letter(
    number: Annotated[int, typer.Argument(help="Number from `dead-letters list`.")],
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show the octets of one datagram."""
    letters = letters_of(settings_of(config, data_dir)).read()
    letter = next((each for each in letters if each.number == number), None)
    if letter is None:
        raise UsageError(f"dead-letters show: there is no letter {number}")
    typer.echo(f"{format_address(letter.datagram.exporter)}: {letter.reason}: {letter.text}")
    payload = bytes(letter.datagram.payload)
    for at in range(0, len(payload), _LINE_OCTETS):
        typer.echo(f"{at:08x}  {payload[at : at + _LINE_OCTETS].hex(' ')}")


@dead_letters_app.command("replay")
def replay_letters(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    partly: Annotated[bool, typer.Option("--partly", help="Also what was decoded in part; those flows are then doubled.")] = False,
) -> None:
    """Decode all of them again and put their flows on the bus; the service must not run meanwhile."""
    settings = settings_of(config, data_dir)
    letters = list(letters_of(settings).read())
    again = [letter for letter in letters if partly or not letter.partly]
    if not again:
        typer.echo("no dead letter to decode again", err=True)
        return
    flows, kept = _decode_again(settings, again, [letter for letter in letters if letter not in again])
    typer.echo(f"{len(again)} datagrams again: {flows} flows decoded, {kept} datagrams still undecodable", err=True)


def _decode_again(settings: Settings, letters: list[DeadLetter], others: list[DeadLetter]) -> tuple[int, int]:
    """Flows decoded and datagrams kept again. This is the collector itself, under a new epoch, so that readers follow it.

    What is still undecodable and the `others` become letters anew; only then all old ones are let go of.
    """
    data_dir, now_ms, counters = Path(settings.data_dir), wall_clock(), Counters()
    lanes = settings.bus.lanes
    keeper = StateKeeper(data_dir / settings.ingest.state_file, lambda: Decoder(settings.ingest, lanes, counters), now_ms)
    with ExitStack() as closing:
        closing.callback(keeper.unlock)
        keeper.lock()
        producer = open_producer(settings.bus, data_dir, Counters())
        closing.callback(producer.close)
        keeper.save()
        store = letters_of(settings)
        box = store.open()
        try:
            identity = Identity(collector_name(settings.ingest), keeper.epoch, lanes)
            line = Line(keeper.decoder, Batcher(settings.ingest, identity), Observation(ExporterBoard(), box))
            for lane, value in _entries(line, letters, now_ms):
                producer.send(lane, value)
            producer.flush(_FLUSH_S)
            undecodable = box.given
            for letter in others:
                box.put(pack_letter(letter.datagram, letter.reason, letter.text, letter.partly))
        finally:
            box.close()
        if box.failed:
            raise BusError(f"{box.failed} dead letters could not be kept again; the old ones are still there")
        store.forget(max(letter.number for letter in (*letters, *others)) + 1)
    return counters.sum("ingest_flows_total"), undecodable


def _entries(line: Line, letters: list[DeadLetter], now_ms: int) -> Iterator[tuple[int, bytes]]:
    for letter in letters:
        for batch in line.feed([letter.datagram], now_ms):
            yield batch.lane, batch.value
    for batch in line.finish(now_ms):
        yield batch.lane, batch.value
