"""Sequences, clocks and times of many datagrams at once, accounted for as `Intake` does one by one.

In: datagrams in the order of domains. Out: the state of their exporters and domains moved on; the source, correction and uptime of
each datagram. Refuses to know records.
"""

from typing import Final

import numpy as np

from ingest.clockoffset import MINUTE_MS
from ingest.crowd import Crowd
from ingest.intake import Intake
from ingest.protocols import netflow9, sflow
from ingest.protocols.message import Longs

_SEQUENCE: Final = 0xFFFFFFFF
_UPTIME: Final = 1 << 32
_NEVER: Final = 1 << 60


def go_on(crowd: Crowd) -> None:
    """Sequences of all domains, and what is remembered of their last datagrams."""
    arrived = crowd.arrived
    version, sequence = arrived.version[crowd.at], arrived.heads.sequence[crowd.at]
    sampled = version == sflow.VERSION
    units = np.where((version == netflow9.VERSION) | sampled, 1, crowd.records)
    flows = np.where(sampled, 0, crowd.records)
    following = sequence + units & _SEQUENCE
    owners, starts, stops = crowd.groups(crowd.domain)
    jumps = np.cumsum(np.concatenate([[0], sequence[1:] != following[:-1]]))
    smooth = jumps[starts] == jumps[stops - 1]
    sums = [np.add.reduceat(part, starts) for part in (units, flows)]
    columns = (starts, stops, smooth, sequence[starts], following[stops - 1], *sums)
    marks = crowd.marks()
    for owner, start, stop, is_smooth, *whole in zip(owners, *(column.tolist() for column in columns), strict=True):
        tracker = owner.domain.sequence
        if crowd.can_repeat(owner):
            tracker.remember(marks[start:stop])
        if not is_smooth or not tracker.advance_far(*whole):
            part = slice(start, stop)
            for each in zip(sequence[part].tolist(), units[part].tolist(), flows[part].tolist(), strict=True):
                tracker.advance(*each)


def observe(crowd: Crowd) -> Longs:
    """Clocks of all exporters, and when each was heard; the correction of each datagram. sFlow has no time of export."""
    arrived, at = crowd.arrived, crowd.at
    received, version = arrived.received_ms[at], arrived.version[at]
    exported = arrived.heads.exported_ms[at]
    exported = np.where(exported, exported, received)
    timed = version != sflow.VERSION
    owners, starts, stops = crowd.groups(crowd.exporter)
    minute = np.maximum.reduceat(np.where(timed, received // MINUTE_MS, -1), starts)
    least = np.minimum.reduceat(np.where(timed, (received - exported) // 1000 * 1000, _NEVER), starts)
    newest = np.maximum.reduceat(at, starts)
    columns = (starts, stops, minute, least, arrived.received_ms[newest], arrived.version[newest])
    correction = np.zeros(len(at), np.int64)
    for owner, start, stop, last_minute, difference, last_ms, last_version in zip(
        owners, *(column.tolist() for column in columns), strict=True
    ):
        exporter = owner.exporter
        exporter.datagrams += stop - start
        exporter.last_ms, exporter.version = last_ms, last_version
        if last_minute < 0:
            continue
        if exporter.clock.observe_many(last_minute, difference):
            correction[start:stop] = exporter.clock.correction
            continue
        for place in (start + np.argsort(at[start:stop])).tolist():
            if timed[place]:
                correction[place] = exporter.clock.observe(int(received[place]), int(exported[place]))
    return np.where(timed, correction, 0)


def sources(crowd: Crowd, intake: Intake) -> Longs:
    """The number of the source of each datagram within this drain."""
    owners, starts, stops = crowd.groups(crowd.domain)
    received = crowd.arrived.received_ms[crowd.at[starts]].tolist()
    numbers = [intake.source_of(owner.exporter, owner.domain, first) for owner, first in zip(owners, received, strict=True)]
    return np.repeat(np.array(numbers, np.int64), stops - starts)


def uptimes(crowd: Crowd) -> Longs:
    """Uptimes of exporters at the time of export: of the header, or by when their options data says that they booted."""
    heads = crowd.arrived.heads
    uptime = heads.uptime_ms[crowd.at]
    boots = [None if owner is None else owner.domain.facts.boot_ms for owner in crowd.owners]
    if all(boot is None for boot in boots):
        return uptime
    known = np.array([boot is not None for boot in boots])[crowd.domain]
    boot = np.array([boot or 0 for boot in boots], np.int64)[crowd.domain]
    return np.where(known & (uptime < 0), (heads.exported_ms[crowd.at] - boot) % _UPTIME, uptime)
