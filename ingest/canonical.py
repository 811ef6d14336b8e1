"""Pending sets and datagrams to canonical flows: one record batch per lane.

In: `Pending`. Out: record batches in the order of arrival of each exporter, and repairs per exporter. The work is done structure by
structure over all exporters and lanes at once; each value is written straight to its final row. Refuses to know wire formats.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.assembly import ALL, Assembly, Where
from ingest.blocks import Block, Longs, make_block
from ingest.columns_of_elements import STEPS, put_applications
from ingest.columns_of_extras import put_extras
from ingest.columns_of_samples import put_samples
from ingest.columns_of_sampling import put_sampling
from ingest.columns_of_sections import put_sections
from ingest.columns_of_times import put_times
from ingest.columns_of_totals import put_totals
from ingest.layout import Layout, make_layout
from ingest.pending import Group, PacketTable, Pending, SampleGroup
from ingest.problems import Reason
from ingest.protocols.sflow import InterfaceCounters, read_counters
from ingest.rows import Rows
from ingest.sample_sequences import Numbered, SampleSequences
from ingest.samples import Samples, make_samples
from ingest.totals import Totals

_LAYOUT_FIELDS = 65_536
_ARRIVALS = 1 << 40
_PLAIN = (
    ("received_ms", np.int64),
    ("exported_ms", np.int64),
    ("flow_seq_num", np.uint32),
    ("observation_domain", np.uint32),
    ("protocol_version", np.uint8),
)
_NULLABLE = (
    ("num_flow_records", "records", np.uint32),
    ("engine_type", "engine_type", np.uint8),
    ("engine_id", "engine_id", np.uint8),
)
_PACKET_NAME = {"flow_seq_num": "sequence", "observation_domain": "domain", "protocol_version": "version"}


class Reading(NamedTuple):
    """One counter sample: its exporter's number, its datagram's, and the interfaces in it."""

    exporter: int
    packet: int
    interfaces: list[InterfaceCounters]


@dataclass(frozen=True, slots=True)
class Drained:
    """Flows by lane, flows by protocol version, repairs by (exporter number, reason); of sFlow counter samples and faulty ones.

    Readings are in the order of arrival, a fault is (number of the datagram, offset in it), missing samples are by number of the
    source.
    """

    batches: dict[int, pa.RecordBatch]
    flows: dict[int, int]
    flows_by_exporter: NDArray[np.int64]
    repairs: Counter[tuple[int, Reason]]
    readings: list[Reading]
    faults: list[tuple[int, int]]
    missing_samples: Counter[int]


@dataclass(slots=True)
class _Placed:
    """Sets (or sFlow datagrams) in lane order: the datagram of each, its rows, and its first row once all are placed."""

    packets: Longs
    order: Longs
    rows_of_set: Longs
    starts: Longs = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(slots=True)
class _Structure:
    """One group on its way, and its records that are two flows."""

    block: Block
    doubled: NDArray[np.bool_] | None
    placed: _Placed


@dataclass(slots=True)
class Canonicaliser:
    """Keeps the layouts of structures it has seen, and the last totals of flows, bounded."""

    lanes: int
    layouts: dict[bytes, Layout] = field(default_factory=dict)
    fields: int = 0
    totals: Totals = field(default_factory=Totals)
    sample_sequences: SampleSequences = field(default_factory=SampleSequences)

    def drain(self, pending: Pending) -> Drained:
        """Everything that is pending, as canonical flows."""
        table = pending.packet_table()
        repairs: Counter[tuple[int, Reason]] = Counter()
        structures = [self._structure(group, table) for group in pending.groups.values()]
        sampled = _sampled(pending.sampled, table)
        places = [structure.placed for structure in structures] + [place for _, place in sampled]
        rows = _place(places)
        packets, counts = _packets_in_order(places)
        exporters = table["exporter"][packets]
        out = Assembly(rows, exporters, counts, pending.exporters)
        _put_packet_columns(out, table, packets, counts)
        for structure in structures:
            _put_structure(structure, table, pending, out, repairs, self.totals)
        readings: list[Reading] = []
        faults: list[tuple[int, int]] = []
        missing: Counter[int] = Counter()
        for samples, place in sampled:
            received = np.repeat(table["received_ms"][place.packets], place.rows_of_set)
            inner = np.array([choice.inner_flow for choice in pending.choices], bool)[table["choice"][place.packets]]
            target = _rows(place.starts, place.rows_of_set)
            put_samples(samples, out, target, received, np.repeat(inner, place.rows_of_set))
            readings += _readings(samples, table["exporter"][place.packets], place.packets)
            faults += [(int(place.packets[owner]), offset) for owner, offset in samples.faults]
            numbered = Numbered(table["source"][place.packets][samples.owner], samples.sources(), samples.fixed.sequence)
            missing.update(self.sample_sequences.missing(numbered, pending.domain_keys()))
        lanes = _sum(table["lane"][packets], counts, self.lanes)
        versions = _sum(table["version"][packets], counts, 0)
        flows = {int(version): int(versions[version]) for version in np.flatnonzero(versions)}
        batches = out.batches(np.concatenate([[0], np.cumsum(lanes)]))
        by_exporter = _sum(exporters, counts, len(pending.exporters))
        return Drained(batches, flows, by_exporter, repairs, _in_order(readings), faults, missing)

    def _layout(self, spec: bytes) -> Layout:
        layout = self.layouts.get(spec)
        if layout is None:
            layout = self.layouts[spec] = make_layout(spec)
            self.fields += len(layout.fields)
            while self.fields > _LAYOUT_FIELDS and len(self.layouts) > 1:
                self.fields -= len(self.layouts.pop(next(iter(self.layouts))).fields)
        return layout

    def _structure(self, group: Group, table: PacketTable) -> _Structure:
        packets = np.array(group.packets, np.int64)
        order = table["lane"][packets] * _ARRIVALS + np.array(group.arrivals, np.int64)
        by_lane = np.argsort(order, kind="stable")
        sets = group.sets
        block = make_block(self._layout(group.spec), [sets[number] for number in by_lane.tolist()])
        doubled = _doubled(block)
        rows = block.counts if doubled is None else block.counts + _sum_by_set(doubled, block.counts)
        return _Structure(block, doubled, _Placed(packets[by_lane], order[by_lane], rows))


def _doubled(block: Block) -> NDArray[np.bool_] | None:
    """Records whose second view has something to count."""
    if len(block.layout.views) < 2:
        return None
    doubled = np.zeros(block.rows, bool)
    for number in block.layout.views[1].counters:
        doubled |= block.octets(number).any(axis=1)
    return doubled if doubled.any() else None


def _sum_by_set(flags: NDArray[np.bool_], counts: Longs) -> Longs:
    sums = np.concatenate([[0], np.cumsum(flags)])
    ends = np.cumsum(counts)
    per_set: Longs = sums[ends] - sums[ends - counts]
    return per_set


def _sampled(group: SampleGroup, table: PacketTable) -> list[tuple[Samples, _Placed]]:
    if not group.payloads:
        return []
    packets = np.array(group.packets, np.int64)
    order = table["lane"][packets] * _ARRIVALS + np.array(group.arrivals, np.int64)
    by_lane = np.argsort(order, kind="stable")
    packets = packets[by_lane]
    payloads = [group.payloads[number] for number in by_lane.tolist()]
    samples = make_samples(payloads, np.array(group.starts, np.int64)[by_lane], table["records"][packets])
    counts = np.bincount(samples.owner, minlength=len(packets))
    return [(samples, _Placed(packets, order[by_lane], counts))]


def _in_order(readings: list[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda reading: reading.packet)


def _readings(samples: Samples, exporters: Longs, packets: Longs) -> list[Reading]:
    data = samples.data.tobytes() if samples.counters else b""
    return [
        Reading(int(exporters[owner]), int(packets[owner]), read_counters(data, start, stop))
        for owner, start, stop in samples.counters
    ]


def _place(places: list[_Placed]) -> int:
    """Give every set its first row, in the order of lanes and arrival; how many rows there are."""
    order = np.concatenate([item.order for item in places])
    counts = np.concatenate([item.rows_of_set for item in places])
    sorting = np.argsort(order, kind="stable")
    starts = np.empty(len(order), np.int64)
    starts[sorting] = np.cumsum(counts[sorting]) - counts[sorting]
    for item, part in zip(places, np.split(starts, np.cumsum([len(item.order) for item in places])[:-1]), strict=True):
        item.starts = part
    return int(counts.sum())


def _packets_in_order(places: list[_Placed]) -> tuple[Longs, Longs]:
    """Datagram and number of rows of every set, in the order of rows."""
    starts = np.concatenate([item.starts for item in places])
    counts = np.concatenate([item.rows_of_set for item in places])
    packets = np.concatenate([item.packets for item in places])
    sorting = np.argsort(starts, kind="stable")
    return packets[sorting], counts[sorting]


def _rows(starts: Longs, counts: Longs) -> Longs:
    """Final rows of sets of `counts` rows that begin at `starts`."""
    rows: Longs = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
    return rows


def _sum(keys: Longs, counts: Longs, length: int) -> Longs:
    return np.bincount(keys, counts, length).astype(np.int64)


def _put_packet_columns(out: Assembly, table: PacketTable, packets: Longs, counts: Longs) -> None:
    for name, dtype in _PLAIN:
        out.put(name, ALL, np.repeat(table[_PACKET_NAME.get(name, name)][packets].astype(dtype), counts))
    correction = table["correction_ms"][packets]
    if correction.any():
        out.put("clock_correction_ms", ALL, np.repeat(correction, counts), np.repeat(correction != 0, counts))
    for name, source, dtype in _NULLABLE:
        values = table[source][packets]
        if (values >= 0).any():
            valid = None if (values >= 0).all() else np.repeat(values >= 0, counts)
            out.put(name, ALL, np.repeat(values.astype(dtype), counts), valid)


def _put_structure(
    structure: _Structure,
    table: PacketTable,
    pending: Pending,
    out: Assembly,
    repairs: Counter[tuple[int, Reason]],
    totals: Totals,
) -> None:
    block = structure.block
    for number, view in enumerate(block.layout.views):
        where, chosen = _positions(structure, number, out.rows)
        if number and chosen is None:
            continue
        rows = Rows(block, view, chosen, structure.placed.packets, where, table, out)
        if not rows.count:
            continue
        put_sections(rows)
        for step in STEPS:
            step(rows)
        put_applications(rows, pending.views)
        put_sampling(rows, pending.views)
        put_extras(rows, pending.choices)
        repaired = put_times(rows)
        put_totals(rows, totals, pending.exporters, number > 0)
        if repaired.any():
            for exporter in rows.of_packet("exporter")[repaired].tolist():
                repairs[exporter, Reason.TIMES_REPAIRED] += 1


def _positions(structure: _Structure, view: int, total: int) -> tuple[Where, Longs | None]:
    """Final rows of the first or second flow of each record, and which records (None: all) have it."""
    counts = structure.block.counts
    rows = structure.block.rows
    if view == 0 and structure.doubled is None and rows == total:
        return ALL, None
    first = _rows(structure.placed.starts, counts)
    if structure.doubled is None:
        return first, None
    before: Longs = np.cumsum(structure.doubled) - structure.doubled
    at_start: Longs = np.repeat(before[np.minimum(np.cumsum(counts) - counts, rows - 1)], counts) if rows else before
    first = first + before - at_start
    if view == 0:
        return first, None
    chosen = np.flatnonzero(structure.doubled)
    return first[chosen] + 1, chosen
