"""Sequence numbers: what was lost, what came late, what came twice, and when an exporter started again.

In: the sequence number of each datagram, how many units it advances (NetFlow v5: flows, v9: datagrams, IPFIX: data records, sFlow:
datagrams), and its octets. Out: totals in the protocol's own unit. Refuses to know packets.
All arithmetic is modulo 2^32 (RFC 3954 section 5.1, RFC 7011 section 3.1). What the sequence went over is received, missing,
undecoded or waiting: IPFIX records without a template cannot be counted in their own set, but the next message's number tells them.
"""

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

REMEMBERED: Final = 32
"""Datagrams that a late or repeated one is compared with."""
_DICTIONARY: Final = 42
"""One more, and Python's dictionary takes twice the memory; many exporters have several of them."""
GAPS: Final = 16
_MASK: Final = 0xFFFFFFFF
_LATE_UNITS: Final = 4_096
_JUMP_UNITS: Final = 1_000_000


@dataclass(slots=True)
class SequenceTracker:
    """One sequence of one exporter; the totals are since the last `take`, but for `waiting`, which is as of now.

    A number out of place is believed only when the next datagram goes on from it: then the exporter has started again. `flows` and
    `units` are all that were ever seen: how many flows a lost unit has on average. A gap is its start, its length, and whether its
    records may have been received, but not decoded; `credit` are such records, decoded before their gap was seen.
    """

    unit: str
    expected: int = -1
    received: int = 0
    missing: int = 0
    reordered: int = 0
    restarts: int = 0
    waiting: int = 0
    undecoded: int = 0
    missing_samples: int = 0
    flows: int = 0
    units: int = 0
    credit: int = 0
    is_certain: bool = True
    has_given_up: bool = False
    gaps: list[tuple[int, int, bool]] = field(default_factory=list)
    seen: dict[int, None] = field(default_factory=dict)
    suspect: int = -1

    def is_repeat(self, payload: bytes) -> bool:
        """Whether a datagram with these octets, its number among them, is among the last ones; else it is remembered."""
        seen = self.seen
        mark = hash(payload)
        if mark in seen:
            return True
        seen[mark] = None
        if len(seen) > _DICTIONARY:
            self.seen = dict.fromkeys(islice(seen, len(seen) - REMEMBERED, None))
        return False

    def advance(self, sequence: int, units: int, flows: int, known: bool = True) -> None:
        """Account for a datagram of `units` with so many flows; not `known`: at least so many, it has sets without a template."""
        self.received += units
        self.units += units
        self.flows += flows
        ahead = (sequence - self.expected) & _MASK
        if ahead == 0 or self.expected < 0:
            self.expected, self.is_certain, self.suspect = (sequence + units) & _MASK, known, -1
        elif ahead < _JUMP_UNITS:
            self._skip(ahead)
            self._resume(sequence, units, known)
        elif _MASK + 1 - ahead <= _LATE_UNITS and self._fills_gap(sequence, units):
            self.reordered += 1
        elif sequence == self.suspect:
            self.restarts += 1
            self.gaps.clear()
            self._resume(sequence, units, known)
        else:
            self.suspect = (sequence + units) & _MASK

    def cut(self, units: int) -> None:
        """So many units of the last datagram were announced, but are not in it."""
        self.received -= units
        self.undecoded += units

    def has_repeat(self, marks: list[int]) -> bool:
        """Whether any of many datagrams, by the hashes of their octets, is one of the others or of the last ones."""
        fresh = set(marks)
        return len(fresh) < len(marks) or not fresh.isdisjoint(self.seen)

    def are_new(self, marks: list[int]) -> list[bool]:
        """Which of many datagrams are neither one of those before them nor of the last ones."""
        seen = dict.fromkeys(self.seen)
        return [mark not in seen and seen.setdefault(mark) is None for mark in marks]

    def remember(self, marks: list[int]) -> None:
        """Remember many datagrams none of which is a repeat, as `is_repeat` would have."""
        seen = self.seen
        seen.update(dict.fromkeys(marks))
        if (excess := len(seen) - _DICTIONARY) > 0:
            cut = REMEMBERED + (excess - 1) % (_DICTIONARY + 1 - REMEMBERED)
            self.seen = dict.fromkeys(islice(seen, len(seen) - cut, None))

    def advance_far(self, sequence: int, following: int, units: int, flows: int) -> bool:
        """Account for many datagrams, each of which goes on where the one before it ended, the first one from what is expected.

        `following` is the number after the last one. False, and nothing done, if the first one does not go on from there.
        """
        if sequence != self.expected and self.expected >= 0:
            return False
        self.received += units
        self.units += units
        self.flows += flows
        self.expected, self.is_certain, self.suspect = following, True, -1
        return True

    def decode_late(self, records: int) -> None:
        """Account for records whose template came after them."""
        self.received += records
        settled = min(records, self.waiting)
        self.waiting -= settled
        self.credit += records - settled

    def give_up(self) -> None:
        """Some records without a template are not kept any longer."""
        self.has_given_up = True

    def settle(self) -> None:
        """Nothing waits any longer: what has not been decoded was given up, or else it was lost."""
        if not self.is_certain:
            return
        if self.has_given_up:
            self.undecoded += self.waiting
        else:
            self.missing += self.waiting
        self.waiting = self.credit = 0
        self.has_given_up = False

    def missing_flows(self) -> int:
        """About how many flows were lost with what is missing."""
        if self.unit == "datagrams":  # agents that number samples otherwise would show gaps for ever
            return max(0, self.missing_samples) if self.missing > 0 else 0
        if self.unit == "packets":
            return round(self.missing * self.flows / self.units) if self.units else 0
        return self.missing

    def take(self) -> "SequenceTracker":
        """The totals since the last call, as a tracker of its own; what filled gaps of before comes off what is missing next."""
        taken = replace(self, missing=max(0, self.missing), gaps=[], seen={})
        self.missing = min(0, self.missing)
        self.received = self.reordered = self.restarts = self.undecoded = self.missing_samples = 0
        return taken

    def _skip(self, units: int) -> None:
        if self.is_certain:
            self.missing += units
        else:
            decoded = min(units, self.credit)
            self.credit -= decoded
            self.waiting += units - decoded
        self.gaps.append((self.expected, units, self.is_certain))
        del self.gaps[:-GAPS]

    def _resume(self, sequence: int, units: int, known: bool) -> None:
        self.expected = (sequence + units) & _MASK
        self.is_certain = known
        self.suspect = -1

    def _fills_gap(self, sequence: int, units: int) -> bool:
        for index, (start, length, is_lost) in enumerate(self.gaps):
            inside = (sequence - start) & _MASK
            if inside < length:
                filled = min(units, length - inside)
                if is_lost:
                    self.missing -= filled
                else:
                    self.waiting -= min(filled, self.waiting)
                rest = ((start, inside), ((sequence + filled) & _MASK, length - inside - filled))
                self.gaps[index : index + 1] = [(*gap, is_lost) for gap in rest if gap[1]]
                return True
        return False
