"""Many datagrams at once: those that hold nothing but flows of a structure in force, which is nearly all of them.

In: datagrams and their exporters. Out: what `Intake` makes of them one by one, made by arrays: pending records, and sequences,
clocks and repeats accounted for. What needs a second look (a new exporter, a template, options, a repeat, a fault) is left to be
taken alone, and then what its exporter sent after it. Refuses to know what is in records.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from ingest import accounts
from ingest.crowd import Crowd, Part, look_at, plain_of
from ingest.datagram import Datagram
from ingest.heads import make_arrived
from ingest.intake import Intake
from ingest.protocols import sflow
from ingest.protocols.message import Longs
from ingest.templates import Template

LEAST: Final = 256
"""With fewer datagrams than this, of some dozens of exporters, taking them one by one costs less."""
MOST: Final = 4096
"""So many are looked at together; a key has room for as many exporters."""
PAUSE: Final = 4
"""So often datagrams are taken one by one after most could not be taken together, since to look costs too."""
_ARRIVALS: Final = 1 << 16
"""Places in the order of arrival that one datagram may take up: it has fewer records."""
_NEVER: Final = 1 << 60


class Bulk:
    """At most MOST datagrams of one session on their way in; `datagrams` and `octets` are those taken in here, by version.

    `in_vain` says afterwards that most had to be taken alone.
    """

    def __init__(self, intake: Intake, datagrams: Sequence[Datagram], addresses: Sequence[bytes]) -> None:
        self._intake = intake
        self._arrived = make_arrived(datagrams, addresses)
        self._first = intake.pending.arrivals
        intake.pending.arrivals += len(datagrams) * _ARRIVALS
        self.datagrams: Counter[int] = Counter()
        self.octets: Counter[int] = Counter()
        self.in_vain = False

    def arrival(self, number: int) -> int:
        """Place of a datagram in the order of arrival."""
        return self._first + number * _ARRIVALS

    def take(self) -> Iterator[int]:
        """Take in what can be. A number that this gives is that of a datagram to be taken alone, before the next is asked for."""
        left = np.arange(len(self._arrived.payloads))
        is_worth = True
        while is_worth and len(left) >= LEAST:
            crowd = look_at(self._arrived, self._intake, left)
            others = np.sort(crowd.at[~plain_of(crowd)])[::-1]
            first_other = np.full(len(self._arrived.addresses), _NEVER)
            first_other[self._arrived.exporter[others]] = others  # of several the last one written stays: the earliest
            ready = crowd.at < first_other[crowd.exporter]
            if ready.any():
                self._take_in(crowd.only(ready))
            is_first = len(left) == len(self._arrived.payloads)
            is_worth = bool(np.count_nonzero(ready) >= LEAST) or (is_first and None in crowd.owners)  # who is new is known next
            yield from np.sort(first_other[first_other < _NEVER]).tolist()
            left = left[left > first_other[self._arrived.exporter[left]]]
        self.in_vain = len(left) > len(self._arrived.payloads) // 2
        yield from left.tolist()

    def _take_in(self, crowd: Crowd) -> None:
        arrived = self._arrived
        at, heads = crowd.at, arrived.heads
        received, exported = arrived.received_ms[at], heads.exported_ms[at]
        accounts.go_on(crowd)
        columns = [
            accounts.sources(crowd, self._intake),
            received,
            np.where(exported, exported, received),
            accounts.observe(crowd),
            accounts.uptimes(crowd),
            *(part[at] for part in (heads.sequence, heads.records, heads.sampling)),
        ]
        order = np.argsort(at)
        packet = self._intake.pending.add_packets(np.stack(columns)[:, order])
        rank = np.empty(len(arrived.payloads), np.int64)
        rank[at[order]] = np.arange(packet, packet + len(at))
        self._add(crowd.part, rank[arrived.sets.owner[crowd.part.sets]])
        counts, octets = np.bincount(arrived.version[at]), np.bincount(arrived.version[at], arrived.lengths[at])
        for version in np.flatnonzero(counts).tolist():
            self.datagrams[version] += int(counts[version])
            self.octets[version] += int(octets[version])

    def _add(self, part: Part, packets: Longs) -> None:
        """Records of all sets into the pending ones, structure by structure; `packets` are the numbers of their datagrams."""
        last_ms = np.zeros(len(part.templates), np.int64)
        received_ms = self._arrived.received_ms[self._arrived.sets.owner[part.sets]]
        last_ms[part.kind] = received_ms  # of several the last one written stays: the latest
        kinds = np.flatnonzero(np.bincount(part.kind, minlength=len(part.templates)))
        numbers: dict[bytes, int] = {}
        structure = np.zeros(len(part.templates), np.int64)
        for number, used_ms in zip(kinds.tolist(), last_ms[kinds].tolist(), strict=True):
            template = part.templates[number]
            if template is not None:
                template.used_ms = used_ms
            structure[number] = numbers.setdefault(b"" if template is None else template.spec, len(numbers))
        of_each = structure[part.kind]
        places = np.argsort(of_each, kind="stable") if len(numbers) > 1 else np.arange(len(packets))
        for chosen in np.split(places, np.flatnonzero(np.diff(of_each[places])) + 1):
            template = part.templates[int(part.kind[chosen[0]])]
            self._add_structure(template, part.only(chosen), packets[chosen].tolist())

    def _add_structure(self, template: Template | None, part: Part, packets: list[int]) -> None:
        pending, sets = self._intake.pending, self._arrived.sets
        owner, starts = sets.owner[part.sets], sets.start[part.sets]
        arrivals = (self._first + owner * _ARRIVALS + sets.place[part.sets]).tolist()
        payloads = [self._arrived.payloads[number] for number in owner.tolist()]
        if template is None:
            samples = np.minimum(self._arrived.heads.records[owner], (self._arrived.lengths[owner] - starts) // sflow.LEAST_SAMPLE)
            pending.add_sampled(packets, arrivals, payloads, starts.tolist(), int(samples.sum()))
        else:
            parts = zip(payloads, starts.tolist(), part.stop.tolist(), strict=True)
            octets = [payload[start:stop] for payload, start, stop in parts]
            pending.add_sets(template.spec, packets, arrivals, octets, int(part.records.sum()))
