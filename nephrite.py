"""The `nephrite` command: wires the sub-commands that each room owns, and turns their errors into one line and an exit code."""

import hashlib
import importlib
import logging
import sys
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import InputError, NephriteError
from common.options import ConfigFile, DataDir, settings_of

_OWNERS: Final = (
    "pipelines.commands",
    "ingest.commands",
    "ingest.loadgen.commands",
    "query.commands",
    "columns.rules.commands",
    "inventory.commands",
    "stores.commands",
    "flink.commands",
    "common.commands",
    "bench.commands",
)
_ROUND_BYTES: Final = 32 << 20

app = typer.Typer(
    name="nephrite",
    help="Collects NetFlow, IPFIX and sFlow; keeps exact aggregates and every flow; answers questions about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _owner in _OWNERS:
    importlib.import_module(_owner).app_commands(app)


@app.command()
def replay(
    capture: Annotated[Path, typer.Argument(metavar="FILE.pcap", help="Capture of export packets (pcap or pcapng).")],
    into: Annotated[str, typer.Option(metavar="NAME", help="Data set to fill; by default the file's hash.")] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Take a capture through the whole line, at capture time, into a data set of its own; twice changes nothing."""
    from bus.memory import MemoryLog, MemoryProducer, MemorySource
    from ingest.replay import Replay
    from pipelines.embedded import open_embedded

    settings = settings_of(config, data_dir)
    digest = _digest(capture)
    folder = Path(settings.data_dir) / "replay" / (into or digest)
    settings = settings.model_copy(update={"data_dir": str(folder)})
    run = Replay(capture, settings.ingest, settings.bus.lanes, f"file-{digest}")
    batches = run.batches()
    begun = [*islice(batches, 1)]  # what is no capture is told before anything is written
    log = MemoryLog(settings.bus.lanes)
    producer, octets, flows = MemoryProducer(log), 0, 0
    with open_embedded(settings, MemorySource(log)) as embedded:
        for batch in chain(begun, batches):
            producer.send(batch.lane, batch.value)
            octets += len(batch.value)
            if octets >= _ROUND_BYTES:
                octets, flows = 0, flows + embedded.driver.drain()
        flows += embedded.driver.drain()
    datagrams = run.counters.sum("ingest_datagrams_total")
    typer.echo(f"{capture}: {datagrams:,} datagrams, {flows:,} new flows; ask with --data-dir {folder}", err=True)
    for name, count in run.counters.as_map().items():
        if name.startswith("ingest_problems_total"):
            typer.echo(f"  {name}: {count:,}", err=True)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def main() -> None:
    """Entry point: exit code 0 done, 1 failed, 2 bad usage or configuration."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Beam, of a client nobody asked for
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    try:
        app()
    except NephriteError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
