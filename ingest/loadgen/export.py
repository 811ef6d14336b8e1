"""Exporters at work: true flow records become datagrams, with sequence numbers, header times, templates, counters.

In: a scenario and a start time. Out: slices of `Datagram`s in the order of sending, each with the rows it carries. Refuses to
know what the network does to them. All rows of one template layout are encoded at once, whichever exporter they belong to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from common.addresses import pack_address
from ingest.loadgen import announce as announcing
from ingest.loadgen.agents import Agents
from ingest.loadgen.records import RECORD, Ints, Rows
from ingest.loadgen.scenario import Exporter, Scenario
from ingest.loadgen.traffic import SLICE_MS, Traffic
from ingest.loadgen.wire import ipfix, netflow5, netflow9, sflow
from ingest.loadgen.wire.fields import Layout, encode_rows

NO_ROWS: Final = np.zeros(0, dtype=RECORD)
_WORD: Final = 0xFFFFFFFF
_UNITS: Final = {"netflow5": "flows", "netflow9": "packets", "ipfix": "records", "sflow": "datagrams"}
_SFLOW: Final = announcing.VERSIONS["sflow"]
_RECORD_SIZES: Final = {5: netflow5.RECORD_SIZE, _SFLOW: sflow.LONGEST_SAMPLE}


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram as sent at `sent_ms` of the true clock.

    `position` is the protocol's sequence number without its wrap, `units` by how much this datagram raises it; both count anew in
    each `life` of the exporter. `rows` are the flows that it carries, `counters` how many counter samples (neither: it announces
    templates and options).
    """

    exporter: int
    sent_ms: int
    position: int
    units: int
    rows: Rows
    payload: bytes = b""
    life: int = 0
    counters: int = 0

    @property
    def announces(self) -> bool:
        """True for templates and options, which the network spares."""
        return not len(self.rows) and not self.counters


def unit_of(exporter: Exporter) -> str:
    """What its sequence numbers count."""
    return _UNITS[exporter.protocol]


def boot_ms(exporter: Exporter, start_ms: int) -> int:
    """When it started, by the true clock."""
    return start_ms - exporter.uptime_s * 1000


class Exporters:
    """All exporters of a scenario; `encode=False` leaves payloads empty where only the rows are wanted."""

    def __init__(self, scenario: Scenario, start_ms: int, encode: bool = True) -> None:
        self._scenario = scenario
        self._start_ms = start_ms
        self._encode = encode
        self._fleet = scenario.fleet()
        self._traffic = Traffic(scenario, start_ms)
        self._positions = [exporter.first_sequence for exporter in self._fleet]
        self._offset = np.array([exporter.clock_offset_ms for exporter in self._fleet])
        self._constants = {
            "sampling_interval": np.array([e.sampling.interval for e in self._fleet]),
            "active_timeout_s": np.array([e.active_timeout_s for e in self._fleet]),
            "inactive_timeout_s": np.array([e.inactive_timeout_s for e in self._fleet]),
            "sampler": np.full(len(self._fleet), announcing.SAMPLER),
        }
        self._layouts, self._layout_of = _distinct_layouts(self._fleet)
        self._sizes = np.array([_RECORD_SIZES[v] if t is None else t.dtype.itemsize for v, t in self._layouts])
        self._octets = np.array([exporter.datagram_bytes for exporter in self._fleet])
        self._most = np.array([exporter.records_per_datagram for exporter in self._fleet])
        self._boots = [boot_ms(exporter, start_ms) for exporter in self._fleet]
        self._boot = np.array(self._boots)
        self._lives = [0] * len(self._fleet)
        self._counts_packets = [exporter.protocol in ("netflow9", "sflow") for exporter in self._fleet]
        self._announcements = [announcing.announce(e) if e.protocol in announcing.TEMPLATED else None for e in self._fleet]
        self._addresses = [pack_address(exporter.address) for exporter in self._fleet]
        self._agents = Agents(self._fleet)
        self._samples = np.array([exporter.protocol == "sflow" for exporter in self._fleet])

    def slices(self) -> Iterator[list[Datagram]]:
        """Datagrams of each slice of virtual time, in the order of sending."""
        left, number = round(self._scenario.duration_s * 1000), 0
        while left > 0:
            yield self._slice(number, min(left, SLICE_MS))
            left, number = left - SLICE_MS, number + 1

    def _slice(self, number: int, length_ms: int) -> list[Datagram]:
        self._restart(number)
        rows = self._traffic.slice(number, length_ms)
        rows = rows[rows["first_ms"] >= self._boot[rows["exporter"]]]
        layout = self._layout_of[rows["exporter"], (rows["ip_version"] == 6).astype(np.int64)]
        order = np.lexsort((rows["export_ms"], rows["exporter"], layout))
        rows, layout = rows[order], layout[order]
        beside = self._announcing(number, length_ms)
        self._sample(rows)
        planned = self._plan(rows, layout) + beside
        planned.sort(key=lambda p: (p.sent_ms, len(p.rows) > 0, p.exporter))
        return [self._send(datagram) for datagram in planned]

    def _restart(self, number: int) -> None:
        """Boot the exporters whose time has come; a flow that began before is forgotten with its cache."""
        for who, exporter in enumerate(self._fleet):
            if exporter.restart_at_s is not None and exporter.restart_at_s * 1000 == number * SLICE_MS:
                self._boot[who] = self._boots[who] = self._start_ms + number * SLICE_MS
                self._positions[who] = 0
                self._lives[who] += 1
                self._agents.restart(who)

    def _sample(self, rows: Rows) -> None:
        """Number samples at their sources and count them; counter samples of this slice were made before."""
        sampled = self._samples[rows["exporter"]]
        if sampled.any():
            samples = rows[sampled]
            self._agents.number(samples)
            self._agents.count(samples)
            rows[sampled] = samples

    def _announcing(self, number: int, length_ms: int) -> list["_Planned"]:
        """Announcements and counter samples of this slice: first after the template delay, then at even intervals, and at a
        restart."""
        begin, due = number * SLICE_MS, list[_Planned]()
        for who, exporter in enumerate(self._fleet):
            every = exporter.template_interval_s * 1000
            when = exporter.template_delay_ms + -(-max(0, begin - exporter.template_delay_ms) // every) * every
            when = begin if self._boots[who] == self._start_ms + begin else when
            if begin <= when < begin + length_ms:
                due += self._announced(who, self._start_ms + when)
        return due

    def _announced(self, who: int, sent_ms: int) -> list["_Planned"]:
        announcement = self._announcements[who]
        if announcement is not None:
            units = 1 if self._counts_packets[who] else announcement.data_records
            return [_Planned(who, sent_ms, NO_ROWS, announcement.body, announcement.records, units)]
        if self._samples[who]:
            return [_Planned(who, sent_ms, NO_ROWS, c.body, c.samples, 1, c.samples) for c in self._agents.counters(who)]
        return []

    def _plan(self, rows: Rows, layout: Ints) -> list["_Planned"]:
        """Datagrams of rows that are sorted by layout, exporter and time."""
        if not len(rows):
            return []
        who = rows["exporter"].astype(np.int64)
        fitting = np.maximum(1, self._octets[who] // self._sizes[layout])
        starts = _datagram_starts(who, layout, np.minimum(self._most[who], fitting))
        stops = np.append(starts[1:], len(rows))
        sets = self._sets(rows, layout, starts, stops) if self._encode else [b""] * len(starts)
        columns = (who[starts].tolist(), rows["export_ms"][stops - 1].tolist(), starts.tolist(), stops.tolist())
        return [
            _Planned(w, sent, rows[start:stop], made, stop - start, 1 if self._counts_packets[w] else stop - start)
            for w, sent, start, stop, made in zip(*columns, sets, strict=True)
        ]

    def _sets(self, rows: Rows, layout: Ints, starts: Ints, stops: Ints) -> list[bytes]:
        """What follows the header in each datagram."""
        sets: list[bytes] = []
        for which in np.unique(layout).tolist():
            begin, end = np.searchsorted(layout, [which, which + 1]).tolist()
            records, edges = self._records(rows[begin:end], which)
            mine = layout[starts] == which
            cuts = zip(edges[starts[mine] - begin].tolist(), edges[stops[mine] - begin].tolist(), strict=True)
            bodies = [records[start:stop] for start, stop in cuts]
            version, template = self._layouts[which]
            wrap = {9: netflow9.flowset, 10: ipfix.record_set}.get(version)
            sets += [wrap(template.template_id, body) for body in bodies] if wrap and template else bodies
        return sets

    def _records(self, rows: Rows, which: int) -> tuple[bytes, Ints]:
        """Records end to end, and the octets before each and after the last."""
        version, template = self._layouts[which]
        if version == _SFLOW:
            return sflow.encode_samples(rows, self._agents.told(rows))
        records = self._flow_records(rows, template)
        return records, np.arange(len(rows) + 1) * (len(records) // len(rows))

    def _flow_records(self, rows: Rows, template: Layout | None) -> bytes:
        who = rows["exporter"]
        first, last = rows["first_ms"] - self._boot[who], rows["last_ms"] - self._boot[who]
        if template is None:
            return netflow5.encode_rows(rows, first & _WORD, last & _WORD)
        beside: dict[str, npt.NDArray[np.generic]] = {name: column[who] for name, column in self._constants.items()}
        beside |= {"first_uptime": first & _WORD, "last_uptime": last & _WORD}
        for end in ("first", "last"):
            told = rows[f"{end}_ms"] + self._offset[who]
            beside |= {f"{end}_ms": told, f"{end}_s": told // 1000}
        return encode_rows(template, rows, beside)

    def _send(self, planned: "_Planned") -> Datagram:
        position = self._positions[planned.exporter]
        self._positions[planned.exporter] += planned.units
        payload = self._header(planned, position) + planned.sets if self._encode else b""
        who, life = planned.exporter, self._lives[planned.exporter]
        return Datagram(who, planned.sent_ms, position, planned.units, planned.rows, payload, life, planned.counters)

    def _header(self, planned: "_Planned", position: int) -> bytes:
        exporter = self._fleet[planned.exporter]
        told, uptime = planned.sent_ms + exporter.clock_offset_ms, planned.sent_ms - self._boots[planned.exporter]
        if exporter.protocol == "netflow5":
            return netflow5.header(planned.records, uptime, told, position, exporter.domain, exporter.sampling.interval)
        if exporter.protocol == "netflow9":
            return netflow9.header(planned.records, uptime, told, position, exporter.domain)
        if exporter.protocol == "sflow":
            return sflow.header(self._addresses[planned.exporter], exporter.domain, position, uptime, planned.records)
        return ipfix.header(ipfix.HEADER_SIZE + len(planned.sets), told, position, exporter.domain)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A datagram before its header; `records` as v9 and v5 count them, or samples."""

    exporter: int
    sent_ms: int
    rows: Rows
    sets: bytes
    records: int
    units: int
    counters: int = 0


def _distinct_layouts(fleet: tuple[Exporter, ...]) -> tuple[list[tuple[int, Layout | None]], Ints]:
    """Each (version, template) of the fleet once, and which of them an exporter uses for IPv4 and IPv6."""
    distinct: dict[tuple[int, Layout | None], int] = {}
    chosen = np.zeros((len(fleet), 2), dtype=np.int64)
    for who, exporter in enumerate(fleet):
        version = announcing.VERSIONS[exporter.protocol]
        pair: tuple[Layout | None, Layout | None] = (None, None)
        if exporter.protocol in announcing.TEMPLATED:
            pair = announcing.layouts_of(exporter)
        chosen[who] = [distinct.setdefault((version, layout), len(distinct)) for layout in pair]
    return list(distinct), chosen


def _datagram_starts(who: Ints, layout: Ints, most: Ints) -> Ints:
    """Where datagrams start in rows sorted by (layout, exporter): at each change of either, and after `most` records (per row)."""
    fresh = np.ones(len(who), dtype=bool)
    fresh[1:] = (who[1:] != who[:-1]) | (layout[1:] != layout[:-1])
    runs = np.flatnonzero(fresh)
    place = np.arange(len(who)) - np.repeat(runs, np.diff(np.append(runs, len(who))))
    return np.flatnonzero(place % most == 0)
