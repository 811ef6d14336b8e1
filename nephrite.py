"""The `nephrite` command: wires the sub-commands that each room owns, and turns their errors into one line and an exit code."""

import hashlib
import importlib
import logging
import sys
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from common.errors import InputError, NephriteError
from common.options import ConfigFile, DataDir, settings_of

if TYPE_CHECKING:
    from stores.parquet.manifest import Manifest

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("pipelines.commands", "Run everything on this machine: ingest, pipeline and HTTP service."),
    "ingest": ("ingest.commands", "Receive NetFlow, IPFIX and sFlow, decode it, and put batches on the bus."),
    "pipeline": ("pipelines.commands", "Run the embedded pipeline: bus -> windows, aggregates and raw flows -> Parquet."),
    "serve": ("query.commands", "Answer over HTTP."),
    "decode": ("ingest.commands", "Decode a capture of export packets; nothing is stored."),
    "replay": ("", "Take a capture through the whole line, into a data set of its own."),
    "generate": ("ingest.loadgen.commands", "Play synthetic exporters, and know the exact answer."),
    "resend": ("ingest.loadgen.commands", "Send the datagrams of a capture again, to a UDP address."),
    "top": ("query.commands", "Show the largest applications, hosts, conversations, interfaces or exporters."),
    "series": ("query.commands", "Show traffic over time."),
    "flows": ("query.commands", "List raw flows as they were exported."),
    "exporters": ("query.commands", "List exporters: interfaces, traffic, protocols, first and last seen."),
    "ledger": ("query.commands", "Show what came and what was lost, and where."),
    "rules": ("columns.rules.commands", "Classification rules: which application a flow is."),
    "inventory": ("inventory.commands", "Nodes, interfaces and networks: what flows are enriched with."),
    "bus": ("ingest.commands", "Look at the bus."),
    "dead-letters": ("ingest.commands", "Undecodable datagrams: list, show, decode again."),
    "rollup": ("pipelines.commands", "Make hours of minutes and days of hours; `nephrite up` does this by itself."),
    "retention": ("query.commands", "Delete what is older or larger than configured, level by level."),
    "repair": ("pipelines.repair_commands", "Recompute windows from what came too late for them."),
    "setup": ("stores.commands", "Install index templates and lifecycle policies in Elasticsearch."),
    "flink": ("flink.commands", "Run a Flink cluster on this machine, and jobs on it."),
    "config": ("common.commands", "Check, show and document the configuration."),
    "bench": ("bench.commands", "Measure this machine; prints JSON."),
}
"""Every sub-command in the order of the help: the module that owns it (none: this one), and its line there."""
_ROUND_BYTES: Final = 32 << 20


class Commands(TyperGroup):
    """Sub-commands by the table. The module that owns one is imported when it is called, and not for the list of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; None, and all of them known for a suggestion, where there is none of this name."""
        wanted = [COMMANDS[cmd_name]] if cmd_name in COMMANDS else COMMANDS.values()
        for owner in {owner for owner, _ in wanted if owner}:
            room = typer.Typer(rich_markup_mode=None)
            importlib.import_module(owner).app_commands(room)
            self.commands.update(typer.main.get_group(room).commands)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


app = typer.Typer(
    name="nephrite",
    cls=Commands,
    help="Collects NetFlow, IPFIX and sFlow; keeps exact aggregates and every flow; answers questions about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def program() -> None:
    """What all sub-commands have in common: nothing but being one program."""


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
        late, repaired = (-count for count in _late_and_repaired(embedded.manifest))
        for batch in chain(begun, batches):
            producer.send(batch.lane, batch.value)
            octets += len(batch.value)
            if octets >= _ROUND_BYTES:
                octets, flows = 0, flows + embedded.driver.drain()
        flows += embedded.driver.drain()
        if repairs := embedded.repairs(settle_s=0):
            with repairs:
                repairs.settle()
        totals = _late_and_repaired(embedded.manifest)
        late, repaired = late + totals[0], repaired + totals[1]
        waiting = sum(entry.late.flows for entry in embedded.manifest.queue())
    datagrams = run.counters.sum("ingest_datagrams_total")
    typer.echo(f"{capture}: {datagrams:,} datagrams, {flows:,} new flows; ask with --data-dir {folder}", err=True)
    for count, became in (
        (repaired, "came too late for their windows, which were repaired"),
        (waiting, f"came too late for their windows and wait for a repair; see `nephrite repair --data-dir {folder} --list`"),
        (late - repaired - waiting, "are too old for any window; raw flows have them"),
    ):
        if count > 0:
            typer.echo(f"  {count:,} flows {became}", err=True)
    for name, count in run.counters.as_map().items():
        if name.startswith(("ingest_problems_total", "ingest_datagrams_dropped_total")):
            typer.echo(f"  {name}: {count:,}", err=True)


def _late_and_repaired(manifest: "Manifest") -> tuple[int, int]:
    counters = manifest.counters()
    return counters.get('pipeline_flows_judged_total{reason="late"}', 0), counters.get("repair_flows_total", 0)


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
