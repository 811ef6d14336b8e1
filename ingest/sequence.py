"""Sequence numbers: what was lost, what came late, what came twice, and when an exporter started again.

In: the sequence number of each datagram, how many units it advances (NetFlow v5: flows, v9: datagrams, IPFIX: data records, sFlow:
datagrams or samples), and its octets. Out: totals in the protocol's own unit. Refuses to know packets.
All arithmetic is modulo 2^32 (RFC 3954 section 5.1, RFC 7011 section 3.1).
"""

from dataclasses import dataclass, field
from typing import Final

REMEMBERED: Final = 32
"""Datagrams that a late or repeated one is compared with."""
GAPS: Final = 16
_MASK: Final = 0xFFFFFFFF
_LATE_UNITS: Final = 4_096
_JUMP_UNITS: Final = 1_000_000


@dataclass(slots=True)
class SequenceTracker:
    """One sequence of one exporter; the totals are since the last `take`.

    A number out of place is believed only when the next datagram goes on from it: then the exporter has started again.
    """

    unit: str
    expected: int = -1
    received: int = 0
    missing: int = 0
    reordered: int = 0
    restarts: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    suspect: int = -1

    def is_repeat(self, sequence: int, payload: bytes) -> bool:
        """Whether a datagram with this number and these octets is among the last ones; else it is remembered."""
        seen = self.seen
        mark = hash(payload)
        if seen.get(sequence) == mark:
            return True
        seen[sequence] = mark
        if len(seen) > 2 * REMEMBERED:
            for oldest in list(seen)[:REMEMBERED]:
                del seen[oldest]
        return False

    def advance(self, sequence: int, units: int, known: bool = True) -> None:
        """Account for a datagram of `units`; with `known` false its size is not certain, and the next one sets the pace anew."""
        self.received += units
        ahead = (sequence - self.expected) & _MASK
        if ahead == 0 or self.expected < 0:
            self._resume(sequence, units, known)
        elif ahead < _JUMP_UNITS:
            self.missing += ahead
            self.gaps.append((self.expected, ahead))
            del self.gaps[:-GAPS]
            self._resume(sequence, units, known)
        elif _MASK + 1 - ahead <= _LATE_UNITS and self._fills_gap(sequence, units):
            self.reordered += 1
        elif sequence == self.suspect:
            self.restarts += 1
            self.gaps.clear()
            self._resume(sequence, units, known)
        else:
            self.suspect = (sequence + units) & _MASK

    def take(self) -> "SequenceTracker":
        """The totals since the last call, as a tracker of its own."""
        taken = SequenceTracker(self.unit, self.expected, self.received, self.missing, self.reordered, self.restarts)
        self.received = self.missing = self.reordered = self.restarts = 0
        return taken

    def _resume(self, sequence: int, units: int, known: bool) -> None:
        self.expected = (sequence + units) & _MASK if known else -1
        self.suspect = -1

    def _fills_gap(self, sequence: int, units: int) -> bool:
        for index, (start, length) in enumerate(self.gaps):
            inside = (sequence - start) & _MASK
            if inside < length:
                filled = min(units, length - inside)
                self.missing = max(0, self.missing - filled)
                self.gaps[index : index + 1] = [
                    gap for gap in ((start, inside), ((sequence + filled) & _MASK, length - inside - filled)) if gap[1]
                ]
                return True
        return False
