"""Windows of lanes put together again from all of their flows: the arithmetic of a repair, wherever flows come from.

In: enriched flows of a lane, each with the mark and the frontier that judged it, in the order of the lane's log. Out: per window
wanted its documents, whole and exact as far as a young window's candidates reach, and the state that they came from. Refuses to
know stores and buses. Memory is bounded by the candidates of the wanted windows and 64 MiB of rows.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa

from columns.arrays import Ints
from columns.lane import Limits, absorb, emit, lay_out_many
from columns.late import NOTHING, Missing, Origin, missing, origins
from columns.marks import REPAIR
from stores.queued import Window

_WAITING_BYTES: Final = 64 << 20


class Rebuilt(NamedTuple):
    """A window as it is with its late flows; `found` are those late flows, `base` the state at the last mark.

    `origins` are the late flows that end in it, by where the ledger has counted them.
    """

    lane: int
    window_start_ms: int
    found: Missing
    base: bytes | None
    documents: pa.Table | None
    origins: Counter[Origin]


@dataclass(slots=True)
class _State:
    base: bytes | None = None
    parts: list[bytes] = field(default_factory=list)
    found: Missing = NOTHING
    origins: Counter[Origin] = field(default_factory=Counter)


class Recompute:
    """Takes flows and knows the documents of the `wanted` windows when all have come."""

    def __init__(self, wanted: Collection[Window], limits: Limits) -> None:
        self._limits = limits
        self._states = {window: _State() for window in sorted(wanted)}
        self._waiting = 0

    def add(self, lane: int, flows: pa.RecordBatch, mark_ms: int | Ints, frontier_ms: int | Ints) -> None:
        """Some flows of a lane; what they have of other windows is left aside."""
        for window_start_ms, found in missing(flows, mark_ms, frontier_ms).items():
            if state := self._states.get((lane, window_start_ms)):
                state.found = state.found.plus(found)
        for window_start_ms, counted in origins(flows, mark_ms, frontier_ms).items():
            if state := self._states.get((lane, window_start_ms)):
                state.origins.update(counted)
        for window_start_ms, part in lay_out_many([(flows, mark_ms, frontier_ms)], self._limits, repair=True).parts.items():
            if state := self._states.get((lane, window_start_ms)):
                state.parts.append(part)
                self._waiting += len(part)
        if self._waiting > _WAITING_BYTES:
            for state in self._states.values():
                self._settle(state)
            self._waiting = 0

    def rebuilt(self) -> Iterator[Rebuilt]:
        """All wanted windows, by lane and start; those without any flow have no documents."""
        for (lane, window_start_ms), state in self._states.items():
            self._settle(state)
            if state.base is None:
                yield Rebuilt(lane, window_start_ms, state.found, None, None, state.origins)
                continue
            base, table = emit(state.base, lane, window_start_ms, REPAIR, True, self._limits)
            yield Rebuilt(lane, window_start_ms, state.found, base, table, state.origins)

    def _settle(self, state: _State) -> None:
        if state.parts:
            state.base = absorb(state.base, state.parts, self._limits, True)
            state.parts = []
