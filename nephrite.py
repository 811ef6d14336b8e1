"""The `nephrite` command: wires the sub-commands that each room owns, and turns their errors into one line and an exit code."""

import importlib
import logging
import sys
from typing import Final

import typer

from common.errors import NephriteError

_OWNERS: Final = (
    "pipelines.commands",
    "ingest.commands",
    "ingest.loadgen.commands",
    "query.commands",
    "common.commands",
    "bench.commands",
)

app = typer.Typer(
    name="nephrite",
    help="Collects NetFlow, IPFIX and sFlow; keeps exact aggregates and raw flows; answers questions about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _owner in _OWNERS:
    importlib.import_module(_owner).app_commands(app)


def main() -> None:
    """Entry point: exit code 0 done, 1 failed, 2 bad usage or configuration."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
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
