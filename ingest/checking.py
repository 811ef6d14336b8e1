"""What can be wrong with a configuration of ingest beyond its form: all of it is found before anything is opened.

In: settings. Out: a ConfigError with every problem, or nothing. Ports are tried only where something else is wrong already, so that
they are told with it; else the service opens them itself.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bus.open import parse_url
from common.clock import wall_clock
from common.config import Settings
from common.errors import ConfigError
from ingest.choices import Choices
from ingest.chunks import ChunkQueue
from ingest.interop import document_target
from ingest.letter_places import letters_of
from ingest.listeners.receivers import Receivers
from ingest.processes import check_processes
from ingest.sharing import open_table


def check_settings(settings: Settings, are_ports_ours: bool = False) -> None:
    """Raises ConfigError with everything that is wrong. A service that runs has the ports already."""
    problems = list(_problems(settings))
    if problems and not are_ports_ours:
        problems += _refused_ports(settings)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _refused_ports(settings: Settings) -> Sequence[str]:
    receivers = Receivers(settings.ingest.listeners, ChunkQueue(1), wall_clock, lambda source: source)
    try:
        receivers.open()
    except ConfigError as error:
        return error.problems
    receivers.close()
    return ()


def _problems(settings: Settings) -> Iterator[str]:
    ingest = settings.ingest
    attempts: tuple[Callable[[], object], ...] = (
        lambda: parse_url(settings.bus.url, Path(settings.data_dir)),
        lambda: check_processes(settings),
        lambda: Choices(ingest),
        lambda: open_table(settings),
        lambda: letters_of(settings),
        lambda: document_target(settings) if ingest.flow_documents else None,
    )
    for attempt in attempts:
        try:
            attempt()
        except ConfigError as error:
            yield from error.problems
