"""What can be asked of a store: typed questions, the same for every store.

In: nothing. Out: the questions. Refuses to know how they are answered (stores/contract.py says with what) and which range or
source a question should have: that is the planner's (query/planner.py). Light to import, for the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from flowpb.groupings import Scope, Values

Source = Literal["raw", "1m", "1h", "1d", "mixed"]
Order = Literal["newest", "oldest", "largest"]
NO_APPLICATION: Final = ""
"""As `Filters.application`: flows that no rule matched."""


class Items(StrEnum):
    """What `top` ranks and `series` tells apart."""

    APPLICATIONS = "applications"
    HOSTS = "hosts"
    CONVERSATIONS = "conversations"
    INTERFACES = "interfaces"
    EXPORTERS = "exporters"


KEYS: Final[Mapping[Items, tuple[str, ...]]] = {
    Items.APPLICATIONS: ("application",),
    Items.HOSTS: ("host",),
    Items.CONVERSATIONS: ("location", "protocol", "lower_address", "upper_address", "application"),
    Items.INTERFACES: ("location", "exporter", "interface"),
    Items.EXPORTERS: ("location", "exporter"),
}
"""The members of an item's key, per kind."""
Key = tuple[str | int | None, ...]
Ranked = Items | Values
"""What can be ranked: fixed items, and kinds of values (flowpb.groupings)."""


def keys_of(items: Ranked) -> tuple[str, ...]:
    """The members of an item's key."""
    return KEYS[items] if isinstance(items, Items) else ("item",)


def multiplicity_of(items: Ranked) -> int:
    """How often a flow counts."""
    return len(items.columns) if isinstance(items, Values) else 2 if items is Items.HOSTS else 1


@dataclass(frozen=True, slots=True)
class Span:
    """[from_ms, to_ms)."""

    from_ms: int
    to_ms: int

    def overlaps(self, other: "Span") -> bool:
        """Whether there is any moment in both."""
        return self.from_ms < other.to_ms and other.from_ms < self.to_ms


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a range and what answers it."""

    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class Filters:
    """Which traffic counts; None is all. Addresses are text as common.addresses writes it; an interface is an ifIndex."""

    exporter: str | None = None
    interface: int | None = None
    application: str | None = None
    host: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class TotalsQuery:
    """All traffic of a selection. `pieces` cover `span` in their order; where there are none, it is one piece of `source`."""

    span: Span
    filters: Filters
    source: Source
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class TopQuery:
    """The `n` largest items by bytes_total."""

    items: Ranked
    span: Span
    filters: Filters
    source: Source
    n: int
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Totals per step (`items` None), or those of the `n` largest items and of the rest. `step_ms` is whole minutes."""

    items: Ranked | None
    span: Span
    filters: Filters
    source: Source
    step_ms: int
    n: int = 10
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowsQuery:
    """Raw flows whose interval touches `span`."""

    span: Span
    filters: Filters
    limit: int
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """The ledger of the receive minutes in `span`, of one exporter or of all, added up by exporter, by step, or both."""

    span: Span
    exporter: str | None = None
    by_exporter: bool = True
    step_ms: int | None = None


def pieces_of(query: TotalsQuery | TopQuery | SeriesQuery) -> tuple[Piece, ...]:
    """What answers a question."""
    return query.pieces or (Piece(query.source, query.span),)


def aggregates_answer(items: Ranked | None, filters: Filters) -> bool:
    """Whether aggregates can answer: they rank one thing at a time, so a filter must be by nothing else (groupings)."""
    scope = Scope.EXPORTER if filters.interface is None else Scope.INTERFACE
    if isinstance(items, Values) and scope not in items.scopes:
        return False
    if filters.host is not None:
        return items is None and filters.application is None
    return filters.application is None or items in (None, Items.APPLICATIONS)
