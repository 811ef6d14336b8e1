"""What a store answers: one reading contract, and the shapes of its answers.

In: questions (stores/questions.py). Out: answers, each with where it came from and how exact it is. Refuses to know files, indices
and SQL.

Numbers are those of docs/explanation/numbers.md: scaled by the sampling interval once, spread over windows of a minute. Ranges are
half-open and whole minutes, but for `flows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from flowpb.ledger import ESTIMATES, LASTS, SUMS
from stores.questions import FlowsQuery, Key, LedgerQuery, Piece, SeriesQuery, Source, Span, TopQuery, TotalsQuery


@dataclass(frozen=True, slots=True)
class Measures:
    """Scaled octets and packets, and flows by where they end; in-side, out-side, and what counts (numbers.md 5)."""

    bytes_ingress: int = 0
    bytes_egress: int = 0
    bytes_total: int = 0
    packets_ingress: int = 0
    packets_egress: int = 0
    packets_total: int = 0
    flows_ingress: int = 0
    flows_egress: int = 0
    flows_total: int = 0

    def minus(self, other: "Measures") -> "Measures":
        """Difference of each."""
        return Measures(*(getattr(self, name) - getattr(other, name) for name in MEASURES))

    def plus(self, other: "Measures") -> "Measures":
        """Sum of each."""
        return Measures(*(getattr(self, name) + getattr(other, name) for name in MEASURES))

    def times(self, factor: int) -> "Measures":
        """Multiple of each."""
        return Measures(*(getattr(self, name) * factor for name in MEASURES))


MEASURES: Final = tuple(Measures.__slots__)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer came from: `source` (mixed: several, a piece of the range each),
    the asked range rounded to what could be answered, and the part of it with data.

    Windows that end after `final_through_ms` may still grow; None where none is final.
    """

    source: Source
    span: Span
    data: Span | None
    final_through_ms: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The true bytes_total lies in [measures.bytes_total, measures.bytes_total + error]."""

    measures: Measures
    error: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class TopItem:
    """One item; `key` as KEYS says. The true bytes_total lies in [measures.bytes_total, measures.bytes_total + error]."""

    key: Key
    measures: Measures
    error: int


@dataclass(frozen=True, slots=True)
class Top:
    """Items, largest first; `other` is multiplicity x total - items, so that all adds up (hosts count a flow at both ends).

    An item that is not listed has at most `floor` octets.
    """

    items: tuple[TopItem, ...]
    other: Measures
    total: Measures
    multiplicity: int
    floor: int
    provenance: Provenance


SERIES_SCHEMA: Final = pa.schema(
    [
        ("start_ms", pa.int64()),
        ("rank", pa.int16()),
        *((name, pa.int64()) for name in MEASURES),
        ("error", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Series:
    """`points` in SERIES_SCHEMA, by start and rank; steps without traffic are left out.

    `rank` is the place of the item in `items`, and `len(items)` for the rest; always 0 in a series of totals. The rest is what the
    items leave of the exact total: it is too large by at most their errors. Steps start at multiples of `step_ms` since 1970.
    """

    points: pa.Table
    items: tuple[Key, ...]
    provenance: Provenance


NAMES: Final = (
    *("exporter_label", "exporter_foreign_source", "exporter_foreign_id", "in_if_name", "in_if_alias", "out_if_name"),
    *("out_if_alias", "src_hostname", "dst_hostname", "src_label", "dst_label"),
)
"""What enrichment knew of a flow when it came; null where it did not, and where the store does not keep the column."""
FLOWS_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("exporter", pa.string()),
        ("in_if", pa.uint32()),
        ("out_if", pa.uint32()),
        ("direction", pa.uint8()),
        ("protocol", pa.uint8()),
        ("src_addr", pa.string()),
        ("src_port", pa.uint16()),
        ("dst_addr", pa.string()),
        ("dst_port", pa.uint16()),
        ("tos", pa.uint8()),
        ("tcp_flags", pa.uint16()),
        ("bytes", pa.uint64()),
        ("packets", pa.uint64()),
        ("sampling_interval", pa.float64()),
        ("application", pa.string()),
        ("src_as", pa.uint32()),
        ("dst_as", pa.uint32()),
        ("vlan", pa.uint16()),
        ("location", pa.string()),
        ("protocol_version", pa.uint8()),
        ("received_ms", pa.int64()),
        ("dscp", pa.uint8()),
        ("ecn", pa.uint8()),
        *((name, pa.string()) for name in NAMES),
    ]
)
DERIVED: Final = {"dscp": "tos >> 2", "ecn": "tos & 3"}
"""Columns of FLOWS_SCHEMA that no store keeps, in SQL."""


@dataclass(frozen=True, slots=True)
class Flows:
    """`rows` in FLOWS_SCHEMA in the order asked for, counters as exported; `matched` counts those beyond the limit, too."""

    rows: pa.Table
    matched: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ExporterRow:
    """One exporter; `protocols` are protocol versions as flowpb.schema.ProtocolVersion, from raw flows, empty without them."""

    location: str | None
    exporter: str
    interfaces: int
    measures: Measures
    first_ms: int
    last_ms: int
    protocols: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exporters:
    """All exporters with traffic in the span, by address."""

    rows: tuple[ExporterRow, ...]
    provenance: Provenance


LEDGER_COLUMNS: Final = (*SUMS, *ESTIMATES, *LASTS, "since_ms", "until_ms")
LEDGER_ANSWER: Final = pa.schema(
    [("start_ms", pa.int64()), ("exporter", pa.string()), *((name, pa.int64()) for name in LEDGER_COLUMNS)]
)
"""Sums of the ledger's counts and estimates; of gauges the value of the latest report. Exporter null is of the lanes themselves,
or of everything together where the question does not tell exporters apart."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """`rows` in LEDGER_ANSWER by start and exporter, of the receive minutes in `data` (None: there are none)."""

    rows: pa.Table
    data: Span | None


class Store(Protocol):
    """The reading end of a store. Every method raises StoreError. Not thread-safe."""

    def extent(self, source: Source) -> Span | None:
        """The range that has data of a source; None when it has none."""

    def totals(self, query: TotalsQuery) -> Totals:
        """All traffic of a selection."""

    def top(self, query: TopQuery) -> Top:
        """The largest items of a selection."""

    def series(self, query: SeriesQuery) -> Series:
        """How a selection went over time."""

    def flows(self, query: FlowsQuery) -> Flows:
        """Raw flows."""

    def exporters(self, span: Span, source: Source, parts: Sequence[Piece] = ()) -> Exporters:
        """Who exported."""

    def ledger(self, query: LedgerQuery) -> Ledger:
        """What came, and what was lost where."""

    def close(self) -> None:
        """Let go of files and connections."""
