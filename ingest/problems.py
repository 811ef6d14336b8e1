"""Everything that can be wrong with export packets, as a closed set of reasons, and a bounded log of the recent cases.

In: faults found by the decoders. Out: totals per reason and located problems. Refuses to know what a packet means; a fault costs
the smallest thing that it is in (a field, record, set or datagram), never its neighbours.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LOGGED: Final = 2048
"""Located problems kept for `nephrite decode --problems`; older ones leave only their count."""


class Reason(StrEnum):
    """Label values of `ingest_problems_total` and keys of `ExporterReport.problems`."""

    UNKNOWN_PROTOCOL = "unknown_protocol"
    TRUNCATED_HEADER = "truncated_header"
    LENGTH_MISMATCH = "length_mismatch"
    SET_LENGTH = "set_length"
    RESERVED_SET = "reserved_set"
    TEMPLATE_MALFORMED = "template_malformed"
    TEMPLATE_MISSING = "template_missing"
    TEMPLATE_EVICTED = "template_evicted"
    EXPORTER_EVICTED = "exporter_evicted"
    PARKED_EXPIRED = "parked_expired"
    PARKED_REFUSED = "parked_refused"
    RECORD_TRUNCATED = "record_truncated"
    OPTIONS_REFUSED = "options_refused"
    DUPLICATE = "duplicate"
    TIMES_REPAIRED = "times_repaired"
    UNKNOWN_ELEMENT = "unknown_element"
    SAMPLE_MALFORMED = "sample_malformed"
    READINGS_DROPPED = "readings_dropped"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault and its place; `offset` counts octets from the start of the datagram, `set_id` is a template or set id."""

    exporter: bytes
    received_ms: int
    protocol: int
    domain: int
    set_id: int
    offset: int
    reason: Reason
    text: str


@dataclass(slots=True)
class ProblemLog:
    """Totals since the last take, and the most recent located problems."""

    totals: Counter[Reason] = field(default_factory=Counter)
    recent: deque[Problem] = field(default_factory=lambda: deque(maxlen=LOGGED))

    def add(self, problem: Problem) -> None:
        """Count a located problem and keep it."""
        self.totals[problem.reason] += 1
        self.recent.append(problem)

    def take_totals(self) -> Counter[Reason]:
        """Totals since the last call."""
        totals, self.totals = self.totals, Counter()
        return totals
