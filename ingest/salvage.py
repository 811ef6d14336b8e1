"""Draining when something in it raises, which is a fault of ours and not of exporters: the least is given up, the rest is kept.

In: what is pending, and what drains it. Out: what was drained, and the datagrams whose records were given up, with the reason. In
parts only after something has raised; what was drained in part by then may count less than it should, never more.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from flowpb.schema import INGEST_SCHEMA
from ingest.canonical import Drained
from ingest.pending import Group, Pending, SampleGroup

_Drain = Callable[[Pending], Drained]


class Lost(NamedTuple):
    """Records of one datagram (its number in the drain) that could not be made into flows."""

    packet: int
    error: str


def drain(pending: Pending, using: _Drain) -> tuple[Drained, list[Lost]]:
    """Everything that is pending, but for what raises."""
    try:
        return using(pending), []
    except Exception as error:  # noqa: BLE001 - whatever it is: counted by the caller, and the collector goes on
        parts, lost = _in_parts(pending, using, error)
        return _together(parts, pending), lost


def _in_parts(pending: Pending, using: _Drain, error: Exception) -> tuple[list[Drained], list[Lost]]:
    smaller = _halves(pending)
    if not smaller:
        return [], [Lost(packet, f"{type(error).__name__}: {error}") for packet in _packets(pending)]
    drained: list[Drained] = []
    lost: list[Lost] = []
    for part in smaller:
        try:
            drained.append(using(part))
        except Exception as again:  # noqa: BLE001 - as above
            more, less = _in_parts(part, using, again)
            drained, lost = drained + more, lost + less
    return drained, lost


def _halves(pending: Pending) -> list[Pending]:
    """The structures one by one; of one structure two halves of its sets; none of a single set."""
    groups, sampled = list(pending.groups.values()), pending.sampled
    if len(groups) + bool(sampled.payloads) > 1:
        parts = [replace(pending, groups={group.spec: group}, sampled=SampleGroup()) for group in groups]
        return [*parts, replace(pending, groups={})] if sampled.payloads else parts
    middle = len(_packets(pending)) // 2
    if not middle:
        return []
    sides = (slice(None, middle), slice(middle, None))
    if groups:
        (group,) = groups
        cut = [Group(group.spec, group.sets[side], group.packets[side], group.arrivals[side]) for side in sides]
        return [replace(pending, groups={part.spec: part}) for part in cut]
    parts_of = [
        SampleGroup(sampled.payloads[side], sampled.starts[side], sampled.packets[side], sampled.arrivals[side]) for side in sides
    ]
    return [replace(pending, sampled=part) for part in parts_of]


def _packets(pending: Pending) -> list[int]:
    return [packet for group in pending.groups.values() for packet in group.packets] + pending.sampled.packets


def _together(parts: list[Drained], pending: Pending) -> Drained:
    whole = Drained({}, {}, np.zeros(len(pending.exporters), np.int64), Counter(), [], [], Counter())
    lanes: dict[int, list[pa.RecordBatch]] = {}
    versions: Counter[int] = Counter()
    for part in parts:
        for lane, batch in part.batches.items():
            lanes.setdefault(lane, []).append(batch)
        versions.update(part.flows)
        whole.flows_by_exporter[:] += part.flows_by_exporter
        whole.repairs.update(part.repairs)
        whole.readings.extend(part.readings)
        whole.faults.extend(part.faults)
        whole.missing_samples.update(part.missing_samples)
    return replace(whole, batches={lane: _one_batch(batches) for lane, batches in lanes.items()}, flows=dict(versions))


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches], promote_options="default")
    names = [name for name in INGEST_SCHEMA.names if name in table.column_names]
    (batch,) = table.select(names).unify_dictionaries().combine_chunks().to_batches()
    return batch
