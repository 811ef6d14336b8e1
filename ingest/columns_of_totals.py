"""Bytes and packets of records whose counters are totals, or are those of firewall events: only what is new in each.

In: rows, and the totals seen before. Out: bytes and packets. A flow is its exporter, domain, and the octets of its key elements.
Refuses to know how differences are made.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.rows import Rows
from ingest.totals import Report, Totals

_KEY: Final = (8, 12, 27, 28, 7, 11, 4, 10, 14, 58, 148, 152, 150, 154, 156, 22)
_CONNECTION: Final = (148, 8, 12, 27, 28, 7, 11, 4)
_DELTAS: Final = (1, 2, 23, 24)
_TOTALS: Final = (("bytes", 85), ("packets", 86))
_EVENT_COUNTERS: Final = (("bytes", 1), ("packets", 2))
_OF_CONNECTION: Final = (231, 232, 298, 299)
"""Counters of an initiator or responder, which the layout of a record names 1 and 2."""
_EVENT: Final = 233
_END_REASON: Final = 136
_Add = Callable[[bytes, Report, int], Report]


def put_totals(rows: Rows, totals: Totals, exporters: list[bytes], is_second: bool) -> None:
    """Replace the counters of such records, and the time from which they count: that of the report before."""
    if not rows.present(*_DELTAS) and rows.present(85, 86):
        named = [(name, number) for name, number in _TOTALS if rows.has(number)]
        kinds = rows.uint(_END_REASON).tolist() if rows.has(_END_REASON) else [0] * rows.count
        keys = _keys(rows, _KEY, named, exporters, is_second)
        add: _Add = totals.since_last
    elif rows.has(_EVENT) and (named := [(name, number) for name, number in _EVENT_COUNTERS if _is_of_connection(rows, number)]):
        kinds = rows.uint(_EVENT).tolist()
        keys = _keys(rows, _CONNECTION, named, exporters, is_second)
        add = totals.of_event
    else:
        return
    counters, last = _counters(rows, [number for _, number in named]), rows.filled("last_switched_ms")
    lines = zip(keys, counters, last.tolist(), kinds, strict=True)
    new = [add(key, Report(values, moment), kind) for key, values, moment, kind in lines]
    for place, (name, _) in enumerate(named):
        rows.put(name, np.array([report.counters[place] for report in new], np.uint64))
    since = np.array([report.moment_ms for report in new], np.int64)
    rows.put("delta_switched_ms", np.minimum(np.maximum(rows.filled("delta_switched_ms"), since), last))


def _is_of_connection(rows: Rows, number: int) -> bool:
    return rows.has(number) and rows.block.layout.fields[rows.view.index[0, number]].id in _OF_CONNECTION


def _counters(rows: Rows, numbers: list[int]) -> list[tuple[int, ...]]:
    return list(zip(*(rows.uint(number, np.uint64).tolist() for number in numbers), strict=True))


def _keys(
    rows: Rows, elements: tuple[int, ...], named: list[tuple[str, int]], exporters: list[bytes], is_second: bool
) -> list[bytes]:
    """A key holds which counters and elements it is made of, too: reports of other structures are no earlier ones of this flow."""
    present = rows.present(*elements)
    parts: list[NDArray[np.uint8]] = [rows.octets((0, number)) for number in present]
    made_of = bytes([is_second, *(number for _, number in named), *present])
    domain = rows.of_packet("domain").astype(">u4").view(np.uint8).reshape(-1, 4)
    joined = np.ascontiguousarray(np.concatenate([domain, *parts], axis=1))
    width, octets = joined.shape[1], joined.tobytes()
    prefix = [exporters[number] + made_of for number in rows.of_packet("exporter").tolist()]
    return [head + octets[place * width : (place + 1) * width] for place, head in enumerate(prefix)]
