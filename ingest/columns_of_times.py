"""Time columns of rows: which elements say when a flow began and ended, and from when its counters count.

In: rows with their elements. Out: first, delta and last switched. Refuses to know how a wrap or an NTP timestamp works (`times`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest import times
from ingest.blocks import Longs
from ingest.rows import Rows

_DAY_MS: Final = 86_400_000
_WRAP: Final = 1 << 32
_FIRST: Final = (152, 154, 156, 150, 158)
_LAST: Final = (153, 155, 157, 151, 159, 323)
_FIRST_UPTIME: Final = 22
_LAST_UPTIME: Final = 21


def put_times(rows: Rows) -> NDArray[np.bool_]:
    """The three time columns; which rows were illegal and have been repaired."""
    exported = rows.of_packet("exported_ms")
    firsts, lasts = _absolute(rows, _FIRST, exported), _absolute(rows, _LAST, exported)
    _add_uptimes(rows, exported, firsts, lasts)
    first, last = times.first_known(firsts, rows.count), times.first_known(lasts, rows.count)
    if not (first.all() and last.all()):
        first, last = _fill(first, last, _duration(rows), exported)
    first, last, illegal = times.repair(first, last, exported)
    rows.put("first_switched_ms", first)
    rows.put("last_switched_ms", last)
    rows.put("delta_switched_ms", times.delta(first, last, _timeouts(rows)))
    return illegal


def _fill(first: Longs, last: Longs, duration: Longs, exported: Longs) -> tuple[Longs, Longs]:
    """Times that are missing: by the flow's duration where it is known, else the time of export."""
    ended = np.where((first != 0) & (duration > 0), first + duration, np.maximum(first, exported))
    last = np.where(last == 0, ended, last)
    return np.where(first == 0, last - duration, first), last


def _absolute(rows: Rows, elements: tuple[int, ...], exported: Longs) -> list[Longs]:
    return [_read(rows, number, exported) for number in rows.present(*elements)]


def _read(rows: Rows, number: int, exported: Longs) -> Longs:
    values: Longs = rows.uint(number)
    if number in (150, 151):
        return times.unsigned(values, 1000)
    if number in (154, 155):
        return times.from_ntp_microseconds(rows.uint(number, np.uint64))
    if number in (156, 157):
        return times.from_ntp(rows.uint(number, np.uint64))
    if number in (158, 159):
        return exported - values // 1000
    return times.unsigned(values)


def _add_uptimes(rows: Rows, exported: Longs, firsts: list[Longs], lasts: list[Longs]) -> None:
    """Uptimes are read by the header's uptime (v9), by systemInitTime (160), or, with neither, up to the time of export."""
    numbers = rows.present(_FIRST_UPTIME, _LAST_UPTIME)
    if not numbers:
        return
    sys_uptime = rows.of_packet("uptime_ms")
    if rows.has(160):
        boot = rows.uint(160)
        sys_uptime = np.where(boot > 0, (exported - boot) % _WRAP, sys_uptime)
    unknown = sys_uptime < 0
    uptimes = {number: rows.uint(number) for number in numbers}
    if unknown.any():
        sys_uptime = np.where(unknown, _latest(rows, next(reversed(uptimes.values()))), sys_uptime)
    for number, uptime in uptimes.items():
        moment = times.from_uptime(uptime, exported, sys_uptime)
        (firsts if number == _FIRST_UPTIME else lasts).append(moment)


def _latest(rows: Rows, uptime: Longs) -> Longs:
    packet = rows.spread(np.arange(len(rows.packets["source"])))
    latest = np.zeros(int(packet.max(initial=0)) + 1, np.int64)
    np.maximum.at(latest, packet, uptime)
    latest_of_row: Longs = latest[packet]
    return latest_of_row


def _duration(rows: Rows) -> Longs:
    for number, per_ms in ((161, 1), (162, 1000)):
        if rows.has(number):
            duration: Longs = np.minimum(rows.uint(number) // per_ms, 366 * _DAY_MS)
            return duration
    return np.zeros(rows.count, np.int64)


def _timeouts(rows: Rows) -> Longs:
    """The active timeout; for records that count nothing the inactive one. -1 where it is not known."""
    active, inactive = _timeout(rows, 36, "active_ms"), _timeout(rows, 37, "inactive_ms")
    counters = rows.present(1, 2, 23, 24, 85, 86)
    if not counters or not ((active >= 0).any() or (inactive >= 0).any()):
        return active
    idle = np.ones(rows.count, bool)
    for number in counters:
        idle &= rows.uint(number, np.uint64) == 0
    return np.where(idle, inactive, active)


def _timeout(rows: Rows, number: int, fallback: str) -> Longs:
    known = rows.of_packet(fallback)
    if not rows.has(number):
        return known
    seconds = rows.uint(number)
    return np.where(seconds > 0, seconds * 1000, known)
