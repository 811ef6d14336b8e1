"""Lane state in the streaming form: one stateful DoFn keyed by (lane, window) in the global window.

In: KV[(lane, window), part]. Out: the documents of a window at each of its marks, as an Arrow IPC stream of AGGREGATE; beside
them, where they are wanted, what the lane contributes to the second stage (wide_state.py), and at the last mark its partial and
what time series are made of. The algorithm is columns.lane's, as in carried_state.py; here the runner keeps the state and the
watermark fires the marks.

State: `log`, parts not absorbed yet; `base`, the absorbed sums; `meta`, octets in the log and the mark that comes next. One event
timer: it is armed by the first part and re-armed by itself only, since a timer that is set again postpones itself for ever.
After the last mark the state is cleared; the acceptance rule keeps later shares away (docs/explanation/numbers.md, 2 and 9).
"""

import struct
from collections.abc import Collection, Iterator
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from columns.enrich import Enricher
from columns.lane import Limits, absorb, contribution, emit, series_documents
from columns.marks import MARKS, due, mark_times
from columns.naming import named
from columns.partials import partial_of
from transforms.flows import NAMESPACE
from transforms.in_place import KnownDoFn
from transforms.ipc import to_ipc
from transforms.keys import moment, pack_contribution, pack_window, unpack_key

_META: Final = struct.Struct(">IB")
_LOG_BYTES: Final = (4 << 20, 1 << 20)
"""The log is absorbed beyond this size: before the first mark, and after it."""


DOCUMENTS: Final = "documents"
PARTIALS: Final = "partials"
CONTRIBUTIONS: Final = "contributions"
SERIES: Final = "series"


class LaneState(KnownDoFn):
    """KV[key, part] -> Arrow IPC streams of AGGREGATE rows, and tagged what else is `wanted`: PARTIALS, CONTRIBUTIONS, SERIES."""

    LOG = BagStateSpec("log", BytesCoder())
    BASE = ReadModifyWriteStateSpec("base", BytesCoder())
    META = ReadModifyWriteStateSpec("meta", BytesCoder())
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def __init__(self, limits: Limits, enricher: Enricher, wanted: Collection[str] = ()) -> None:
        self._limits, self._enricher, self._wanted = limits, enricher, frozenset(wanted)
        self._documents = Metrics.counter(NAMESPACE, "pipeline_documents_total")

    def process(
        self,
        element: tuple[bytes, bytes],
        now: Timestamp = beam.DoFn.TimestampParam,
        log: Any = beam.DoFn.StateParam(LOG),
        base: Any = beam.DoFn.StateParam(BASE),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> None:
        """Adds a part; absorbs the log when it is large; arms the first mark that is still to come."""
        key, part = element
        known = meta.read()
        size, mark = _META.unpack(known) if known else (0, _next_mark(key, now))
        log.add(part)
        size += len(part)
        if known is None:
            fire.set(_mark_time(key, mark))
        if size > _LOG_BYTES[mark > 0]:
            base.write(absorb(base.read(), list(log.read()), self._limits, mark == 0))
            log.clear()
            size = 0
        meta.write(_META.pack(size, mark))

    @on_timer(FIRE)
    def on_mark(
        self,
        key: bytes = beam.DoFn.KeyParam,
        log: Any = beam.DoFn.StateParam(LOG),
        base: Any = beam.DoFn.StateParam(BASE),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> Iterator[Any]:
        """Writes the groups that changed; after the last mark forgets the window."""
        known = meta.read()
        if known is None:  # at the end of all input the state may be gone before its timer
            return
        lane, window_start_ms = unpack_key(key)
        size, mark = _META.unpack(known)
        total = absorb(base.read(), list(log.read()), self._limits, mark == 0) if size else base.read()
        log.clear()
        last = mark + 1 == MARKS
        total, table = emit(total, lane, window_start_ms, mark + 1, last, self._limits)
        if table.num_rows:
            self._documents.inc(table.num_rows)
            yield to_ipc(named(table, self._enricher))
            if CONTRIBUTIONS in self._wanted:
                value = pack_contribution(lane, mark + 1, contribution(total, self._limits))
                yield TaggedOutput(CONTRIBUTIONS, (pack_window(window_start_ms), value))
        if last and PARTIALS in self._wanted:
            yield TaggedOutput(PARTIALS, to_ipc(partial_of(total, lane, window_start_ms, self._limits)))
        if last and SERIES in self._wanted:
            yield TaggedOutput(SERIES, to_ipc(named(series_documents(total, lane, window_start_ms, self._limits), self._enricher)))
        if last:
            base.clear()
            meta.clear()
        else:
            base.write(total)
            meta.write(_META.pack(0, mark + 1))
            fire.set(_mark_time(key, mark + 1))


def _next_mark(key: bytes, now: Timestamp) -> int:
    return min(due(unpack_key(key)[1], 1, now.micros // 1_000), MARKS - 1)


def _mark_time(key: bytes, mark: int) -> Timestamp:
    return moment(mark_times(unpack_key(key)[1])[mark])
