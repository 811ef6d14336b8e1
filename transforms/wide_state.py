"""The second stage in the streaming form: one stateful DoFn keyed by window, which puts together what the lanes contribute.

In: KV[window, contribution of a lane at one of its marks]. Out: documents of location and system scope, as an Arrow IPC stream of
AGGREGATE. The algorithm is columns.wide's, as in carried_wide.py; here the runner keeps the contributions, and the watermark, which
is that of all lanes, says when all have passed a mark.

State: `lanes`, a bag of contributions, of which per lane that of the highest mark counts; `meta`, the mark that is waited for, and
whether anything came since the last documents. One timer fires just behind the mark: what comes behind it sets the timer to its own
mark, and the documents then have more rows. Behind the last mark the state is cleared.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from columns.enrich import Enricher
from columns.lane import Limits, emit_wide
from columns.marks import MARKS, mark_times
from columns.naming import named
from transforms.flows import NAMESPACE
from transforms.in_place import KnownDoFn
from transforms.ipc import to_ipc
from transforms.keys import moment, unpack_contribution, unpack_window

_BEHIND_MS: Final = 1_000


class WideState(KnownDoFn):
    """KV[window, contribution] -> Arrow IPC streams of AGGREGATE rows."""

    LANES = BagStateSpec("lanes", BytesCoder())
    META = ReadModifyWriteStateSpec("meta", BytesCoder())
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def __init__(self, limits: Limits, enricher: Enricher) -> None:
        self._limits, self._enricher = limits, enricher
        self._documents = Metrics.counter(NAMESPACE, "pipeline_documents_total")

    def process(
        self,
        element: tuple[bytes, bytes],
        lanes: Any = beam.DoFn.StateParam(LANES),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> None:
        """Keeps a contribution; arms the timer for its mark, unless that is so already."""
        key, value = element
        lanes.add(value)
        mark, known = unpack_contribution(value)[1], meta.read()
        armed = known[0] if known else MARKS + 1
        if mark < armed:
            fire.set(_behind(key, mark))
        meta.write(bytes([min(mark, armed), 1]))

    @on_timer(FIRE)
    def on_mark(
        self,
        key: bytes = beam.DoFn.KeyParam,
        lanes: Any = beam.DoFn.StateParam(LANES),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> Iterator[bytes]:
        """Writes the documents of all groups where anything is new; behind the last mark forgets the window."""
        known = meta.read()
        if not known:  # at the end of all input the state may be gone before its timer
            return
        armed, fresh = known
        newest = _newest(lanes.read())
        lanes.clear()
        if fresh:
            yield from self._documents_of(key, newest)
        if armed == MARKS:
            meta.clear()
            return
        for value in newest.values():
            lanes.add(value)
        meta.write(bytes([MARKS, 0]))
        fire.set(_behind(key, MARKS))

    def _documents_of(self, key: bytes, newest: Mapping[int, bytes]) -> Iterator[bytes]:
        parts = [unpack_contribution(newest[lane]) for lane in sorted(newest)]
        reached = max(mark for _, mark, _ in parts)
        table = emit_wide([part for _, _, part in parts], unpack_window(key), reached, reached == MARKS, self._limits)
        if table.num_rows:
            self._documents.inc(table.num_rows)
            yield to_ipc(named(table, self._enricher))


def _newest(values: Iterable[bytes]) -> dict[int, bytes]:
    """Of each lane the contribution of its highest mark."""
    newest: dict[int, bytes] = {}
    for value in values:
        lane, mark, _ = unpack_contribution(value)
        if lane not in newest or unpack_contribution(newest[lane])[1] <= mark:
            newest[lane] = value
    return newest


def _behind(key: bytes, mark: int) -> Timestamp:
    return moment(mark_times(unpack_window(key))[mark - 1] + _BEHIND_MS)
