"""Hands the data of one micro-batch run to its transforms through this module.

Beam pickles whatever is given to `Create`; batches and carried state are far too large for that, and live in this process anyway.
A driver's program is built once and finds the run of the moment under the driver's token.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from stores.parquet.manifest import PendingFile
from stores.queued import Late
from transforms.carried_state import CarriedWindow, Look, Stepped
from transforms.carried_wide import CarriedWide, LookWide, SteppedWide
from transforms.flows import AcceptedBatch

Window = tuple[int, int]
_NEVER: Final = CarriedWindow()
_NEVER_WIDE: Final = CarriedWide()


def _nothing_before(_: int) -> Mapping[int, bytes]:
    return {}


@dataclass(slots=True)
class Run:
    """What one run reads and what it leaves behind."""

    accepted: Mapping[int, Sequence[AcceptedBatch]]
    windows: Mapping[Window, CarriedWindow]
    frontiers: Mapping[int, int]
    due: Sequence[Window]
    stepped: list[Stepped] = field(default_factory=list)
    files: list[PendingFile] = field(default_factory=list)
    late: dict[Window, Late] = field(default_factory=dict)
    ledger: dict[int, list[bytes]] = field(default_factory=dict)
    wide: Mapping[int, CarriedWide] = field(default_factory=dict)
    wide_due: Sequence[int] = ()
    stepped_wide: list[SteppedWide] = field(default_factory=list)
    wide_before: Callable[[int], Mapping[int, bytes]] = _nothing_before


_RUNS: dict[str, Run] = {}
_NUMBERS: Final = itertools.count(1)


def new_token() -> str:
    """A name for a driver of this process."""
    return f"driver-{next(_NUMBERS)}"


@contextmanager
def handed_over(token: str, run: Run) -> Iterator[None]:
    """Puts the run where the transforms of the driver's program find it."""
    _RUNS[token] = run
    try:
        yield
    finally:
        del _RUNS[token]


def take(token: str) -> Run:
    """The run behind a token."""
    return _RUNS[token]


def look(token: str) -> Look:
    """Carried state and frontier of the run's windows, as transforms.carried_state wants them."""
    run = _RUNS[token]
    return lambda lane, window_start_ms: (run.windows.get((lane, window_start_ms), _NEVER), run.frontiers[lane])


def look_wide(token: str) -> LookWide:
    """What lanes have contributed to the run's windows and the least frontier, as transforms.carried_wide wants them."""
    run = _RUNS[token]
    frontier_ms = min(run.frontiers.values(), default=None)

    def found(window_start_ms: int) -> tuple[CarriedWide, Mapping[int, bytes], int | None]:
        if (carried := run.wide.get(window_start_ms)) is not None:
            return carried, {}, frontier_ms
        return _NEVER_WIDE, run.wide_before(window_start_ms), frontier_ms

    return found
