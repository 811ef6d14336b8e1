"""Bytes and packets of records whose counters are totals, or are those of firewall events: only what is new in each.

In: rows, and the totals seen before. Out: bytes and packets. A flow is its exporter, domain, and the octets of its key elements.
Refuses to know how differences are made.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.rows import Rows
from ingest.totals import Totals

_KEY: Final = (8, 12, 27, 28, 7, 11, 4, 10, 14, 58, 148, 152, 150, 154, 156, 22)
_CONNECTION: Final = (148, 8, 12, 27, 28, 7, 11, 4)
_DELTAS: Final = (1, 2, 23, 24)
_TOTALS: Final = (("bytes", 85), ("packets", 86))
_EVENT_COUNTERS: Final = (("bytes", 1), ("packets", 2))
_EVENT: Final = 233
_END_REASON: Final = 136


def put_totals(rows: Rows, totals: Totals, exporters: list[bytes], is_second: bool) -> None:
    """Replace the counters of such records."""
    if not rows.present(*_DELTAS) and rows.present(85, 86):
        reasons = rows.uint(_END_REASON) if rows.has(_END_REASON) else np.zeros(rows.count, np.int64)
        named = [(name, number) for name, number in _TOTALS if rows.has(number)]
        counters = _counters(rows, [number for _, number in named])
        lines = zip(_keys(rows, _KEY, exporters, is_second), counters, reasons.tolist(), strict=True)
        new = [totals.since_last(key, values, reason) for key, values, reason in lines]
    elif rows.has(_EVENT) and rows.block.layout.fields[rows.view.index.get((0, 1), 0)].id in (231, 232):
        named = [(name, number) for name, number in _EVENT_COUNTERS if rows.has(number)]
        counters = _counters(rows, [number for _, number in named])
        lines = zip(_keys(rows, _CONNECTION, exporters, is_second), counters, rows.uint(_EVENT).tolist(), strict=True)
        new = [totals.of_event(key, values, event) for key, values, event in lines]
    else:
        return
    table = np.array(new, np.uint64).reshape(rows.count, len(named))
    for place, (name, _) in enumerate(named):
        rows.put(name, table[:, place].copy())


def _counters(rows: Rows, numbers: list[int]) -> list[tuple[int, ...]]:
    return list(zip(*(rows.uint(number, np.uint64).tolist() for number in numbers), strict=True))


def _keys(rows: Rows, elements: tuple[int, ...], exporters: list[bytes], is_second: bool) -> list[bytes]:
    parts: list[NDArray[np.uint8]] = [rows.octets((0, number)) for number in rows.present(*elements)]
    domain = rows.of_packet("domain").astype(">u4").view(np.uint8).reshape(-1, 4)
    joined = np.ascontiguousarray(np.concatenate([domain, *parts], axis=1))
    width, octets = joined.shape[1], joined.tobytes()
    prefix = [exporters[number] + bytes([is_second]) for number in rows.of_packet("exporter").tolist()]
    return [head + octets[place * width : (place + 1) * width] for place, head in enumerate(prefix)]
