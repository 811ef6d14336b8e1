"""The second stage in the micro-batch form: what the lanes contribute to a window is carried from run to run by the driver.

In: KV[window, contributions of this run], grouped; the carried ones and the least frontier of all lanes, handed over by the
caller's look-up. Out: `SteppedWide`, what has to be written. Refuses to know who commits it. The stateful form is wide_state.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from columns.enrich import Enricher
from columns.lane import Limits, emit_wide
from columns.marks import MARKS, due
from columns.naming import named
from transforms.in_place import KnownDoFn, stays_in_place
from transforms.keys import unpack_contribution, unpack_window


@dataclass(frozen=True, slots=True)
class CarriedWide:
    """The last contribution of each lane, the mark that comes next (0, 1, 2), and whether any came since the last documents."""

    next_mark: int = 0
    fresh: bool = False
    contributions: Mapping[int, bytes] = field(default_factory=dict)


@stays_in_place
@dataclass(frozen=True, slots=True)
class SteppedWide:
    """What one run does to one window: contributions to keep beside the mark, or its end; and documents to write."""

    window_start_ms: int
    next_mark: int = 0
    fresh: bool = False
    contributions: Mapping[int, bytes] = field(default_factory=dict)
    closed: bool = False
    documents: tuple[pa.Table, ...] = ()


def step_wide(
    window_start_ms: int, carried: CarriedWide, contributions: Mapping[int, bytes], frontier_ms: int | None, limits: Limits
) -> SteppedWide:
    """Adds contributions to a window and fires the marks that all lanes have passed; several at once write once, as the last."""
    reached = due(window_start_ms, 1, frontier_ms)
    fresh = carried.fresh or bool(contributions)
    if reached <= carried.next_mark and reached < MARKS:
        return SteppedWide(window_start_ms, carried.next_mark, fresh, contributions)
    last = reached == MARKS
    documents: tuple[pa.Table, ...] = ()
    if fresh:
        lanes = {**carried.contributions, **contributions}
        documents = (emit_wide([lanes[lane] for lane in sorted(lanes)], window_start_ms, reached, last, limits),)
    return SteppedWide(window_start_ms, reached, False, {} if last else contributions, last, documents)


LookWide = Callable[[int], tuple[CarriedWide, Mapping[int, bytes], int | None]]
"""Window start -> what is carried; if nothing, what lanes contribute that closed it before; the least frontier of all lanes."""


class WideRun(KnownDoFn):
    """KV[window, contributions] -> SteppedWide. An empty contribution only says that a mark may be due."""

    def __init__(self, look: Callable[[str], LookWide], token: str, limits: Limits, enricher: Enricher) -> None:
        self._look, self._token, self._limits, self._enricher = look, token, limits, enricher

    def process(self, keyed: tuple[bytes, Iterable[bytes]]) -> Iterator[SteppedWide]:
        """One output per window that was touched."""
        window_start_ms = unpack_window(keyed[0])
        carried, before, frontier_ms = self._look(self._token)(window_start_ms)
        parts = (unpack_contribution(value) for value in keyed[1] if value)
        newest = {lane: contribution for lane, _, contribution in parts}
        stepped = step_wide(window_start_ms, carried, {**before, **newest}, frontier_ms, self._limits)
        yield replace(stepped, documents=tuple(named(table, self._enricher) for table in stepped.documents))
