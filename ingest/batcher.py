"""Closing batches: decoded flows and reports of all lanes in, bus entries with their identity out.

Decides when a batch closes (age, flows, octets), numbers it, gives it its mark, applies the exporters' rules, cuts what is too
large for one entry, and sends every silent lane a heartbeat, so that frontiers move on while exporters are quiet. Pure: the clock
is an argument. Refuses to know packets, sockets and which bus carries the entries.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from common.config import Ingest
from flowpb.codec import Header, encode
from flowpb.flow_batch_pb2 import ExporterReport
from ingest.exporter_rules import ExporterRules
from ingest.sizes import Sizes

HEARTBEAT_MS: Final = 1_000
_LEAST_SHARE: Final = 2  # batches of all lanes close early for the largest one, but not below this fraction of `batch_flows`
_MARGIN: Final = 0.95
_SMALL_DICTIONARY: Final = 32
_REPORT_SHARE: Final = 4  # reports fill at most this fraction of an entry, so that flows and reports together stay near the limit

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Batch:
    """One closed batch, ready for the bus: `value` is the encoded FlowBatch; its identity never changes again."""

    lane: int
    value: bytes
    flows: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose batches these are: `epoch` is larger than any that this collector used before."""

    collector: str
    epoch: int
    lanes: int


@dataclass(slots=True)
class _Lane:
    seq: int = 0
    mark_ms: int = -(1 << 62)
    closed_ms: int = -(1 << 62)


class Batcher:
    """Numbers and encodes the batches of one collector. `rules` may be replaced at any time.

    `mark_of` gives the mark of what closes at a time, where the collector's clock is not that of its readers (captures).
    """

    def __init__(
        self,
        settings: Ingest,
        identity: Identity,
        heartbeat_ms: int = HEARTBEAT_MS,
        mark_of: Callable[[int], int] = lambda now_ms: now_ms,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self.rules = ExporterRules(settings)
        self._heartbeat_ms = heartbeat_ms
        self._mark_of = mark_of
        self._lanes = [_Lane() for _ in range(identity.lanes)]
        self._closed_ms: int | None = None
        self._enough_flows = settings.batch_flows
        self._sizes = Sizes()

    def begin(self, epoch: int, heartbeat_ms: int = HEARTBEAT_MS) -> None:
        """Number from 0 again, under a new epoch, as a new process would."""
        self._heartbeat_ms = heartbeat_ms
        self._identity = replace(self._identity, epoch=epoch)
        self._lanes = [_Lane() for _ in self._lanes]
        self._closed_ms = None

    def due_ms(self, now_ms: int) -> int:
        """When the open batches close by age; the first call starts the clock."""
        if self._closed_ms is None or now_ms < self._closed_ms:  # a clock set back must not stop the batches
            self._closed_ms = now_ms
        return self._closed_ms + self._settings.batch_interval_ms

    def is_full(self, flows: int, octets: int) -> bool:
        """Whether this much, pending over all lanes, closes the batches before their time.

        Lanes are uneven: the largest one of the last time says how many flows fit, since cutting its batch costs more.
        """
        return flows >= self._enough_flows or octets >= self._settings.batch_bytes * self._identity.lanes

    def close(
        self, now_ms: int, flows: Mapping[int, pa.RecordBatch], reports: Mapping[int, Sequence[ExporterReport]]
    ) -> list[Batch]:
        """All lanes' batches closed at `now_ms`, and a heartbeat for every lane that has been silent for its time."""
        self._closed_ms = now_ms
        closed: list[Batch] = []
        located = {number: self.rules.apply(batch) for number, batch in flows.items() if batch.num_rows}
        octets = {number: self._sizes.octets(batch) for number, batch in located.items()}
        self._note_share(sum(batch.num_rows for batch in located.values()), max(octets.values(), default=0))
        for number, lane in enumerate(self._lanes):
            parts = list(self._cut(located[number], octets[number])) if number in located else []
            groups = list(self._group(reports.get(number, ())))
            silent = abs(now_ms - lane.closed_ms) >= self._heartbeat_ms
            for index in range(max(len(parts), len(groups), int(silent))):
                closed.append(self._seal(number, now_ms, _at(parts, index), _at(groups, index) or ()))
        return closed

    def _seal(self, number: int, now_ms: int, flows: pa.RecordBatch | None, reports: tuple[ExporterReport, ...]) -> Batch:
        lane = self._lanes[number]
        lane.mark_ms = max(lane.mark_ms, self._mark_of(now_ms))
        lane.closed_ms = now_ms
        identity = self._identity
        header = Header(identity.collector, identity.epoch, number, lane.seq, lane.mark_ms, identity.lanes, reports=reports)
        lane.seq += 1
        return Batch(number, encode(header, flows, self._settings.codec), 0 if flows is None else flows.num_rows)

    def _note_share(self, flows: int, largest: int) -> None:
        """How many flows there may be next time, if the `largest` lane has its share of them as now."""
        most = self._settings.batch_flows
        if largest > self._settings.batch_bytes // 2:
            fitting = int(flows * self._settings.batch_bytes / largest * _MARGIN)
            self._enough_flows = max(most // _LEAST_SHARE, min(most, fitting), 1)

    def _cut(self, located: pa.RecordBatch, octets: int) -> Iterator[pa.RecordBatch]:
        pieces = max(-(-octets // self._settings.batch_bytes), -(-located.num_rows // self._settings.batch_flows))
        if pieces == 1:
            yield located
            return
        rows = -(-located.num_rows // pieces)
        for start in range(0, located.num_rows, rows):
            yield _compact(located.slice(start, rows))

    def _group(self, reports: Sequence[ExporterReport]) -> Iterator[tuple[ExporterReport, ...]]:
        group: list[ExporterReport] = []
        octets = 0
        for report in reports:
            size = report.ByteSize()
            if group and octets + size > self._settings.batch_bytes // _REPORT_SHARE:
                yield tuple(group)
                group, octets = [], 0
            group.append(report)
            octets += size
        if group:
            yield tuple(group)


def _compact(flows: pa.RecordBatch) -> pa.RecordBatch:
    """The same flows with dictionaries that hold only what these rows use: Arrow writes a slice's dictionary whole."""
    columns = [_trim(column) if _is_wasteful(column) else column for column in flows.columns]
    return pa.RecordBatch.from_arrays(columns, names=flows.schema.names)


def _is_wasteful(column: pa.Array) -> bool:
    return pa.types.is_dictionary(column.type) and len(column.dictionary) > _SMALL_DICTIONARY


def _trim(column: pa.DictionaryArray) -> pa.DictionaryArray:
    indices = column.indices
    missing = indices.is_null().to_numpy(zero_copy_only=False) if indices.null_count else None
    codes = (indices.fill_null(0) if indices.null_count else indices).to_numpy(zero_copy_only=False)
    places = np.zeros(max(len(column.dictionary), 1), dtype=np.int32)
    places[codes if missing is None else codes[~missing]] = 1
    used = np.flatnonzero(places)
    places[used] = np.arange(len(used), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(places[codes], mask=missing), column.dictionary.take(pa.array(used)))


def _at(items: Sequence[_T], index: int) -> _T | None:
    return items[index] if index < len(items) else None
