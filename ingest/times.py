"""Times of flows: whatever an exporter sends, as milliseconds since 1970-01-01 UTC by the exporter's clock.

In: columns of time elements and the header's times. Out: first, delta and last switched, all present and in order. Refuses to know
the collector's clock. One function turns uptime into time; what is illegal is repaired as OpenNMS does, and counted.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
_WRAP: Final = 1 << 32
_AHEAD_MS: Final = 3_600_000
_EARLIEST_MS: Final = -_WRAP
"""An exporter that believes in 1970 may have flows from before, but not by more than its uptime."""
_LATEST_MS: Final = 253_402_300_800_000
"""The year 10000: what is beyond is no time, and no store takes it as one."""
_NTP_ERA_SECONDS: Final = 1 << 32
_NTP_TO_UNIX_SECONDS: Final = 2_208_988_800


def from_uptime(uptime: Longs, exported: Longs, sys_uptime: Longs) -> Longs:
    """Time of a 32-bit uptime, given the uptime and the time of the export.

    A value above the export's own uptime by more than an hour was taken before the 32-bit counter wrapped (49.7 days); one that is
    a little ahead is only that. So 0xffffffff (seen in NetFlow v5) is 1 ms before boot.
    """
    age = sys_uptime - uptime
    wrapped = age < -_AHEAD_MS
    if wrapped.any():
        age[wrapped] += _WRAP
    return exported - age


def from_ntp(value: NDArray[np.uint64]) -> Longs:
    """Time of a 64-bit NTP timestamp (RFC 7011 sections 6.1.9 and 6.1.10); seconds below 2^31 are of the era from 2036."""
    seconds = (value >> np.uint64(32)).astype(np.int64)
    fraction = (value & np.uint64(0xFFFFFFFF)).astype(np.int64)
    seconds = np.where(seconds < _NTP_ERA_SECONDS >> 1, seconds + _NTP_ERA_SECONDS, seconds)
    since_1970: Longs = (seconds - _NTP_TO_UNIX_SECONDS) * 1000 + (fraction * 1000 >> 32)
    return np.where(value == 0, 0, since_1970)


def from_ntp_microseconds(value: NDArray[np.uint64]) -> Longs:
    """The same of microsecond elements: the low 11 bits mean nothing (section 6.1.9), the rest is the nearest microsecond."""
    whole = from_ntp(value & ~np.uint64(0xFFFFFFFF))
    fraction = (value & np.uint64(0xFFFFF800)).astype(np.int64) & 0xFFFFFFFF
    microseconds = (fraction * 1_000_000 + (1 << 31)) >> 32
    return np.where(value == 0, 0, whole + microseconds // 1000)


def repair(first: Longs, last: Longs, exported: Longs) -> tuple[Longs, Longs, NDArray[np.bool_]]:
    """First and last with illegal flows (first > last, or no times at all) moved to the export time, and which those were."""
    illegal = first > last
    if first.min(initial=0) < _EARLIEST_MS or last.max(initial=0) > _LATEST_MS:
        illegal |= (first < _EARLIEST_MS) | (last > _LATEST_MS)
    if not illegal.any():
        return first, last, illegal
    return np.where(illegal, exported, first), np.where(illegal, exported, last), illegal


def delta(first: Longs, last: Longs, timeout_ms: Longs) -> Longs:
    """Start of the part of a flow that its record counts: not before last - timeout, where a timeout is known (>= 0)."""
    known = timeout_ms >= 0
    return np.where(known, np.maximum(first, last - timeout_ms), first) if known.any() else first


def unsigned(values: Longs, per_ms: int = 1) -> Longs:
    """Absolute times in units of so many milliseconds; those that do not fit are later than anything legal."""
    if values.min(initial=0) < 0 or values.max(initial=0) > _LATEST_MS // per_ms:
        values = np.where((values < 0) | (values > _LATEST_MS // per_ms), _LATEST_MS // per_ms + 1, values)
    return values * per_ms if per_ms > 1 else values


def first_known(candidates: list[Longs], rows: int) -> Longs:
    """The first candidate that is not 0, row by row, else 0."""
    if not candidates:
        return np.zeros(rows, np.int64)
    result = candidates[0]
    for candidate in candidates[1:]:
        if result.all():
            break
        result = np.where(result == 0, candidate, result)
    return result
