"""The ledger of lanes in both forms: carried from run to run by the micro-batch driver, or kept by a stateful DoFn.

In: accepted batches, for their reports; KV[lane, part] of them and of lay-out. Out: rows of LEDGER. Refuses to know what a row
means (columns/ledger.py) and who stores it.

Streaming state: `log`, parts not absorbed yet; `base`, the rows of open minutes; `meta`, octets in the log and the timer's time.
The one event timer fires ten seconds after each minute for as long as there are rows.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from columns.ledger import BatchReports, absorb_ledger, emit_ledger, next_mark_ms, part_of_reports
from transforms.flows import NAMESPACE, AcceptedBatch
from transforms.in_place import KnownDoFn
from transforms.ipc import to_ipc
from transforms.keys import moment, pack_lane, unpack_lane

_LOG_BYTES: Final = 1 << 20
_META: Final = struct.Struct(">Iq")


@dataclass(frozen=True, slots=True)
class CarriedLedger:
    """Ledger of one lane: `base` with its rows, `parts` not absorbed yet, and the frontier at which it is looked through next."""

    next_mark_ms: int = 0
    base: bytes | None = None
    parts: tuple[bytes, ...] = ()


NO_LEDGER: Final = CarriedLedger()


@dataclass(frozen=True, slots=True)
class SteppedLedger:
    """What one run does to a lane's ledger: parts to append, or a new state (without a base: its end), and rows to write."""

    lane: int
    appended: tuple[bytes, ...] = ()
    rewritten: CarriedLedger | None = None
    rows: pa.Table | None = None


def step_ledger(lane: int, carried: CarriedLedger, parts: tuple[bytes, ...], frontier_ms: int) -> SteppedLedger:
    """Adds `parts` to a lane's ledger, and takes out the rows of minutes that are over where a mark is due."""
    log = (*carried.parts, *parts)
    is_due = carried.next_mark_ms <= frontier_ms
    if not is_due and sum(map(len, log)) < _LOG_BYTES:
        return SteppedLedger(lane, appended=parts)
    base = absorb_ledger(carried.base, log) if log else carried.base
    if not is_due or base is None:
        return SteppedLedger(lane, rewritten=CarriedLedger(carried.next_mark_ms, base))
    left, rows = emit_ledger(base, lane, frontier_ms)
    return SteppedLedger(lane, (), CarriedLedger(next_mark_ms(frontier_ms) if left else 0, left), rows if rows.num_rows else None)


def remembered(carried: CarriedLedger, stepped: SteppedLedger) -> CarriedLedger:
    """The ledger after a step."""
    return stepped.rewritten or replace(carried, parts=(*carried.parts, *stepped.appended))


class TakeReports(KnownDoFn):
    """AcceptedBatch -> KV[lane, part] per lane and bundle, of batches without flows, too."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[BatchReports]] = {}

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._waiting = {}

    def process(self, batch: AcceptedBatch) -> None:
        """Keeps the reports until the bundle ends."""
        told = BatchReports(batch.mark_ms, batch.frontier_ms, batch.reports, batch.missing)
        self._waiting.setdefault(batch.lane, []).append(told)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """One part per lane."""
        for lane, told in self._waiting.items():
            time = moment(max(each.frontier_ms for each in told))
            yield GlobalWindows.windowed_value((pack_lane(lane), part_of_reports(told)), time)


class KeepLedger(KnownDoFn):
    """KV[lane, part] -> Arrow IPC streams of LEDGER rows."""

    LOG = BagStateSpec("log", BytesCoder())
    BASE = ReadModifyWriteStateSpec("base", BytesCoder())
    META = ReadModifyWriteStateSpec("meta", BytesCoder())
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def __init__(self) -> None:
        self._rows = Metrics.counter(NAMESPACE, "pipeline_ledger_rows_total")

    def process(
        self,
        element: tuple[bytes, bytes],
        now: Timestamp = beam.DoFn.TimestampParam,
        log: Any = beam.DoFn.StateParam(LOG),
        base: Any = beam.DoFn.StateParam(BASE),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> None:
        """Adds a part; absorbs the log when it is large; arms the timer where it is not."""
        part = element[1]
        known = meta.read()
        size, mark_ms = _META.unpack(known) if known else (0, next_mark_ms(now.micros // 1_000))
        if known is None:
            fire.set(moment(mark_ms))
        log.add(part)
        size += len(part)
        if size > _LOG_BYTES:
            base.write(absorb_ledger(base.read(), list(log.read())))
            log.clear()
            size = 0
        meta.write(_META.pack(size, mark_ms))

    @on_timer(FIRE)
    def on_mark(
        self,
        key: bytes = beam.DoFn.KeyParam,
        log: Any = beam.DoFn.StateParam(LOG),
        base: Any = beam.DoFn.StateParam(BASE),
        meta: Any = beam.DoFn.StateParam(META),
        fire: Any = beam.DoFn.TimerParam(FIRE),
    ) -> Iterator[bytes]:
        """Writes the rows that grew; forgets the lane when all of its minutes are closed."""
        known = meta.read()
        if known is None:  # at the end of all input the state may be gone before its timer
            return
        size, mark_ms = _META.unpack(known)
        total = absorb_ledger(base.read(), list(log.read())) if size else base.read()
        log.clear()
        left, rows = emit_ledger(total, unpack_lane(key), mark_ms)
        if rows.num_rows:
            self._rows.inc(rows.num_rows)
            yield to_ipc(rows)
        if left is None:
            base.clear()
            meta.clear()
        else:
            base.write(left)
            meta.write(_META.pack(0, next_mark_ms(mark_ms)))
            fire.set(moment(next_mark_ms(mark_ms)))
