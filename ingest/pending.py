"""What has been taken in and not yet drained: one row per datagram, and octets of records by structure.

In: headers and sets, one datagram at a time. Out, at each drain: arrays. This is the whole hot path per datagram, so it holds plain
lists and nothing else. Refuses to know elements.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.choices import Choice
from ingest.options import SamplingView


class Source(NamedTuple):
    """What the datagrams of one observation domain have in common; -1 stands for what is not known."""

    exporter: int
    lane: int
    version: int
    domain: int
    engine_type: int
    engine_id: int
    active_ms: int
    inactive_ms: int
    view: int
    choice: int


class Packet(NamedTuple):
    """One datagram with flows in it; -1 stands for what its protocol does not say. `sampling` is the v5 header's word."""

    source: int
    received_ms: int
    exported_ms: int
    correction_ms: int
    uptime_ms: int
    sequence: int
    records: int
    sampling: int


_SOURCE: Final = {name: number for number, name in enumerate(Source._fields)}
_PACKET: Final = {name: number for number, name in enumerate(Packet._fields)}
PACKET_FIELDS: Final = len(_PACKET)


@dataclass(slots=True)
class Group:
    """Sets of one structure: their octets, the datagram that each came in, and its place in the order of arrival."""

    spec: bytes
    sets: list[bytes] = field(default_factory=list)
    packets: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)


@dataclass(slots=True)
class SampleGroup:
    """sFlow datagrams, as in Group; the octets of each one's header."""

    payloads: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    packets: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Pending:
    """Everything since the last drain; `flows` counts a record of two directions once, and all samples of sFlow.

    `packets` holds the fields of one Packet after the other: with thousands a second, objects would cost more than the rest. Those
    that came in bulk are in `blocks`, a column each, with the ones before them; `numbered` of all have been put there.
    """

    flows: int = 0
    octets: int = 0
    arrivals: int = 0
    packets: list[int] = field(default_factory=list)
    blocks: list[NDArray[np.int64]] = field(default_factory=list)
    numbered: int = 0
    sources: list[Source] = field(default_factory=list)
    groups: dict[bytes, Group] = field(default_factory=dict)
    sampled: SampleGroup = field(default_factory=SampleGroup)
    exporters: list[bytes] = field(default_factory=list)
    exporter_numbers: dict[bytes, int] = field(default_factory=dict)
    views: list[SamplingView] = field(default_factory=list)
    view_numbers: dict[int, int] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)

    def exporter_number(self, exporter: bytes) -> int:
        """Number of an exporter within this drain."""
        number = self.exporter_numbers.setdefault(exporter, len(self.exporters))
        if number == len(self.exporters):
            self.exporters.append(exporter)
        return number

    def view_number(self, view: SamplingView) -> int:
        """Number of a sampling view within this drain; by identity, since views are replaced and never changed."""
        number = self.view_numbers.setdefault(id(view), len(self.views))
        if number == len(self.views):
            self.views.append(view)
        return number

    def choice_number(self, choice: Choice) -> int:
        """Number of an operator's choice within this drain."""
        if choice not in self.choices:
            self.choices.append(choice)
        return self.choices.index(choice)

    def add_source(self, source: Source) -> int:
        """Number of a source."""
        self.sources.append(source)
        return len(self.sources) - 1

    def domain_keys(self) -> list[tuple[bytes, int]]:
        """Exporter and domain of each source."""
        return [(self.exporters[source.exporter], source.domain) for source in self.sources]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to drain."""
        return not self.groups and not self.sampled.payloads

    def add_packet(self, *fields: int) -> int:
        """Number of a datagram with the fields of Packet."""
        self.packets += fields
        return self.numbered + len(self.packets) // PACKET_FIELDS - 1

    def add_packets(self, columns: NDArray[np.int64]) -> int:
        """Number of the first of many datagrams, whose fields are columns of Packet."""
        self._close_block()
        first = self.numbered
        self.blocks.append(columns)
        self.numbered += columns.shape[1]
        return first

    def add_set(self, spec: bytes, packet: int, octets: bytes, flows: int) -> None:
        """One data set of a structure, without its header; `flows` as in the class."""
        group = self.groups.get(spec)
        if group is None:
            group = self.groups[spec] = Group(spec)
        group.sets.append(octets)
        group.packets.append(packet)
        group.arrivals.append(self.arrivals)
        self.arrivals += 1
        self.flows += flows
        self.octets += len(octets)

    def add_sets(self, spec: bytes, packets: list[int], arrivals: list[int], sets: list[bytes], flows: int) -> None:
        """Many data sets of a structure, each with its datagram and its place in the order of arrival."""
        group = self.groups.get(spec)
        if group is None:
            group = self.groups[spec] = Group(spec)
        group.sets += sets
        group.packets += packets
        group.arrivals += arrivals
        self.flows += flows
        self.octets += sum(map(len, sets))

    def add_sampled(self, packets: list[int], arrivals: list[int], payloads: list[bytes], starts: list[int], samples: int) -> None:
        """Many sFlow datagrams, as in `add_samples`."""
        sampled = self.sampled
        sampled.payloads += payloads
        sampled.starts += starts
        sampled.packets += packets
        sampled.arrivals += arrivals
        self.flows += samples
        self.octets += sum(map(len, payloads))

    def add_samples(self, packet: int, payload: bytes, start: int, samples: int) -> None:
        """One sFlow datagram; how many of its samples are flows is known at the drain."""
        sampled = self.sampled
        sampled.payloads.append(payload)
        sampled.starts.append(start)
        sampled.packets.append(packet)
        sampled.arrivals.append(self.arrivals)
        self.arrivals += 1
        self.flows += samples
        self.octets += len(payload)

    def payload_of(self, packet: int) -> bytes:
        """The octets of an sFlow datagram."""
        return self.sampled.payloads[self.sampled.packets.index(packet)]

    def packet_table(self) -> "PacketTable":
        """The datagrams as columns."""
        packets = np.concatenate([*self.blocks, self._last_block()], axis=1)
        sources = np.array(self.sources, np.int64).reshape(-1, len(_SOURCE)).T.copy()
        return PacketTable(packets, sources)

    def _close_block(self) -> None:
        if self.packets:
            self.blocks.append(self._last_block())
            self.numbered += self.blocks[-1].shape[1]
            self.packets = []

    def _last_block(self) -> NDArray[np.int64]:
        return np.array(self.packets, np.int64).reshape(-1, PACKET_FIELDS).T


@dataclass(frozen=True, slots=True)
class PacketTable:
    """Columns of Packet, one int64 per datagram, and of its Source."""

    packets: NDArray[np.int64]
    sources: NDArray[np.int64]

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        number = _PACKET.get(name)
        if number is not None:
            values: NDArray[np.int64] = self.packets[number]
        else:
            values = self.sources[_SOURCE[name]][self.packets[_PACKET["source"]]]
        return values
