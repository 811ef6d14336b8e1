"""Sampling columns of rows: interval, algorithm and where they were found; counters themselves are never multiplied here.

In: rows with their elements, the sampling views of their domains. Out: sampling_interval, _algorithm, _source. Trust falls from the
record over options and header to configuration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flowpb.schema import SamplingSource
from ingest.blocks import Longs
from ingest.options import LEAST_PROBABILITY, Sampler, SamplingView
from ingest.rows import Rows

_SHIFT: Final = 1 << 32
_FLOAT64: Final = 8
_V5_INTERVAL: Final = 0x3FFF
_V5_MODE: Final = np.array([0, 1, 3, 0], np.uint8)
"""The upper two bits of the v5 sampling word as selectorAlgorithm (304)."""


@dataclass(slots=True)
class _Sampling:
    interval: NDArray[np.float64]
    algorithm: NDArray[np.uint8]
    source: NDArray[np.uint8]

    def set(self, where: NDArray[np.bool_], interval: Any, algorithm: Any, source: Any) -> None:
        if where.all():
            rows = len(where)
            self.interval = np.broadcast_to(np.asarray(interval, np.float64), rows)
            self.algorithm = np.broadcast_to(np.asarray(algorithm, np.uint8), rows)
            self.source = np.broadcast_to(np.asarray(source, np.uint8), rows)
            return
        self.interval = np.where(where, interval, self.interval)
        self.algorithm = np.where(where, algorithm, self.algorithm).astype(np.uint8)
        self.source = np.where(where, source, self.source).astype(np.uint8)


def put_sampling(rows: Rows, views: Sequence[SamplingView]) -> None:
    """The three sampling columns."""
    sampling = _defaults(rows, views)
    if rows.packets["sampling"].any():
        header = rows.packets["sampling"]  # per datagram: what it says holds for all of its rows
        interval = header & _V5_INTERVAL
        from_header = rows.spread(interval > 0) & (sampling.source < SamplingSource.HEADER)
        sampling.set(
            from_header, rows.spread(interval.astype(np.float64)), rows.spread(_V5_MODE[header >> 14]), SamplingSource.HEADER
        )
    _look_up_exporters(rows, views, sampling)
    _look_up(rows, views, sampling)
    _from_record(rows, sampling)
    known = sampling.interval > 0
    rows.put("sampling_source", sampling.source)
    if known.any():
        rows.put("sampling_interval", sampling.interval, known)
        rows.put("sampling_algorithm", sampling.algorithm, known & (sampling.algorithm > 0))


def _defaults(rows: Rows, views: Sequence[SamplingView]) -> _Sampling:
    view = rows.packets["view"]
    plain = [item.default or Sampler(0.0, 0) for item in views]
    return _Sampling(
        rows.spread(np.array([item.interval for item in plain], np.float64)[view]),
        rows.spread(np.array([item.algorithm for item in plain], np.uint8)[view]),
        rows.spread(np.array([item.source for item in views], np.uint8)[view]),
    )


def _look_up_exporters(rows: Rows, views: Sequence[SamplingView], sampling: _Sampling) -> None:
    """Samplers of the exporters whose records a mediator passes on (elements 130 and 131 of the record)."""
    if not any(item.by_exporter for item in views):
        return
    view = rows.of_packet("view")
    for number, size in ((130, 4), (131, 16)):
        octets = rows.octets((0, number)) if rows.has(number) else None
        if octets is None or octets.shape[1] != size:
            continue
        distinct, place = np.unique(np.ascontiguousarray(octets).view(f"V{size}").ravel(), return_inverse=True)
        for key, address in enumerate(distinct.tolist()):
            for which, item in enumerate(views):
                found = item.by_exporter.get(address)
                if found is not None:
                    sampling.set((place == key) & (view == which), found.interval, found.algorithm, SamplingSource.OPTIONS)


def _look_up(rows: Rows, views: Sequence[SamplingView], sampling: _Sampling) -> None:
    if not any(item.by_id or item.by_interface for item in views):
        return
    view = rows.of_packet("view")
    identity = rows.present(302, 48)
    if identity and any(item.by_id for item in views):
        values = rows.uint(identity[0])
        _apply(view, values, views, lambda item: item.by_id, sampling)
    if rows.has(10) and any(item.by_interface for item in views):
        _apply(view, rows.uint(10), views, lambda item: item.by_interface, sampling, keep=True)


def _apply(
    view: Longs,
    values: Longs,
    views: Sequence[SamplingView],
    table: Callable[[SamplingView], dict[int, Sampler]],
    sampling: _Sampling,
    keep: bool = False,
) -> None:
    """Samplers by (view, id); where the id is not in the table, `unknown_id` unless the default is kept."""
    entries = sorted(
        (number * _SHIFT + key % _SHIFT, found) for number, item in enumerate(views) for key, found in table(item).items()
    )
    keys = np.array([key for key, _ in entries], np.int64)
    wanted = view * _SHIFT + values % _SHIFT
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    hit = keys[place] == wanted
    if not keep:
        unknown = [item.unknown_id or Sampler(0.0, 0) for item in views]
        has_table = np.array([bool(table(item)) for item in views])
        intervals = np.array([item.interval for item in unknown], np.float64)[view]
        miss = has_table[view] & ~hit
        source = np.where(intervals > 0, sampling.source, np.uint8(SamplingSource.NONE))
        sampling.set(miss, intervals, np.array([item.algorithm for item in unknown], np.uint8)[view], source)
    interval = np.array([found.interval for _, found in entries], np.float64)[place]
    algorithm = np.array([found.algorithm for _, found in entries], np.uint8)[place]
    sampling.set(hit, interval, algorithm, SamplingSource.OPTIONS)


def _from_record(rows: Rows, sampling: _Sampling) -> None:
    """Elements 34, 50, 305 with 306, 307 with 308, 309 with 310, and 311 in the record itself; an interval of 0 says nothing."""
    if not rows.present(34, 50, 305, 307, 309, 311):
        return
    interval = np.zeros(rows.count, np.float64)
    for number in rows.present(34, 50):
        interval = np.where(interval == 0, rows.uint(number), interval)
    for taken, rest in ((305, 306), (307, 308)):
        if rows.has(taken):
            interval = np.where(interval == 0, _ratio(rows, taken, rest, plus=True), interval)
    if rows.has(309) and rows.has(310):
        interval = np.where(interval == 0, _ratio(rows, 309, 310, plus=False), interval)
    if rows.has(311) and (octets := rows.octets((0, 311))).shape[1] == _FLOAT64:
        probability = np.ascontiguousarray(octets).view(">f8")[:, 0].astype(np.float64)
        usable = (interval == 0) & (probability >= LEAST_PROBABILITY) & (probability <= 1)
        interval = np.divide(1.0, probability, out=interval.copy(), where=usable)
    algorithm = np.zeros(rows.count, np.uint8)
    for number in rows.present(304):
        algorithm = rows.uint(number, np.uint8)
    for number in rows.present(35, 49):
        mode = rows.uint(number, np.uint8)
        algorithm = np.where(algorithm == 0, np.choose(np.minimum(mode, 3), [0, 1, 3, 0]), algorithm)
    sampling.set(interval >= 1, interval, algorithm, SamplingSource.RECORD)


def _ratio(rows: Rows, taken: int, other: int, plus: bool) -> NDArray[np.float64]:
    part = rows.uint(taken).astype(np.float64)
    rest = rows.uint(other).astype(np.float64) if rows.has(other) else np.zeros(rows.count)
    whole = part + rest if plus else rest
    return np.divide(whole, part, out=np.zeros(rows.count), where=part > 0)
