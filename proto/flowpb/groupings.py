"""GROUPINGS: every aggregate that the line can keep as shipped, one row each, and how operators' own ones join them.

In: nothing. Out: the rows that drive ranking, document fields, store templates and API parameters. Refuses to know how the
numbers are computed. Names are Nephron's where it has the grouping.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WINDOW_MS: Final = 60_000
LEVEL_MS: Final[Mapping[str, int]] = {"1m": WINDOW_MS, "1h": 60 * WINDOW_MS, "1d": 24 * 60 * WINDOW_MS}
"""The length of each level's windows, shortest first; each is a multiple of the one before."""
HORIZON_MS: Final = 15 * 60_000
MARK_DELAYS_MS: Final = (10_000, 180_000)
"""Delays of the first marks after a window's end, in receive time; the last mark is at the horizon + FINAL_DELAY_MS."""
FINAL_DELAY_MS: Final = 60_000
FUTURE_MS: Final = 60_000
"""How far past its batch's mark a flow may end before it is taken for illegal."""
REACH_MS: Final = 24 * 60 * 60_000
"""A late flow that ended this long before its batch was closed, or longer, is too old for any window."""
LEASE_MS: Final = 10 * 60_000
FORGET_MS: Final = 30 * 24 * 60 * 60_000
"""A collector that was silent for this long, by the frontier of the lane, is forgotten there."""
TOP_K: Final = 10


class Scope(StrEnum):
    """What a group is about."""

    INTERFACE = "EXPORTER_INTERFACE"
    EXPORTER = "EXPORTER"
    LOCATION = "LOCATION"
    SYSTEM = "SYSTEM"


class Kind(StrEnum):
    """What is ranked inside a group."""

    TOTAL = "TOTAL"
    APPLICATION = "APPLICATION"
    HOST = "HOST"
    CONVERSATION = "CONVERSATION"


@dataclass(frozen=True, slots=True)
class Values:
    """A kind whose items are the values of a column of FLOW, or of a pair of columns of one type, of which a flow counts at both.

    `name` is that of the items in names of groupings. `scopes` are those at which it is kept.
    """

    name: str
    columns: tuple[str, ...]
    scopes: tuple[Scope, ...] = tuple(Scope)

    @property
    def value(self) -> str:
        """The name, as the fixed kinds have it."""
        return self.name

    @property
    def key(self) -> str:
        """Tells definitions apart: state of another one is not of this kind."""
        return f"{self.name}:{','.join(self.columns)}:{','.join(scope.value for scope in Scope if scope in self.scopes)}"

    def kept_at(self, scope: Scope) -> bool:
        """Whether lane state ranks it at a scope; what is wider is put together from the exporters."""
        return scope in self.scopes or (scope is Scope.EXPORTER and any(wide in self.scopes for wide in WIDE))


WIDE: Final = (Scope.LOCATION, Scope.SYSTEM)
"""Scopes above the exporter: their groups are put together from all lanes."""
AUTONOMOUS_SYSTEM: Final = Values("AS", ("src_as", "dst_as"))
COUNTRY: Final = Values("COUNTRY", ("src_country", "dst_country"))
PROTOCOL: Final = Values("PROTOCOL", ("protocol",))
SHIPPED: Final = (AUTONOMOUS_SYSTEM, COUNTRY, PROTOCOL)
DEFAULT_VALUES: Final = (PROTOCOL,)
"""What is kept where nothing else is configured."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """One aggregate: `scope` (and DSCP) make the group, `kind` the items ranked in it.

    `multiplicity` is how often a flow counts in a group: hosts count it at both ends.
    """

    scope: Scope
    kind: Kind | Values
    dscp: bool = False

    @property
    def grouped_by(self) -> str:
        """The name in documents, e.g. EXPORTER_INTERFACE_TOS_APPLICATION; a total has no kind in its name."""
        parts = [
            self.scope.value,
            *(["TOS"] if self.dscp else []),
            *([] if self.kind is Kind.TOTAL else [self.kind.value]),
        ]
        return "_".join(parts)

    @property
    def multiplicity(self) -> int:
        """How many items of the group one flow counts in."""
        if isinstance(self.kind, Values):
            return len(self.kind.columns)
        return 2 if self.kind is Kind.HOST else 1


def groupings_of(values: Sequence[Values]) -> tuple[Grouping, ...]:
    """All groupings where these kinds are kept beside the fixed ones."""
    return tuple(
        Grouping(scope, kind, dscp)
        for dscp in (False, True)
        for scope in Scope
        if scope is Scope.INTERFACE or not dscp
        for kind in (*Kind, *values)
        if not isinstance(kind, Values) or scope in kind.scopes
    )


GROUPINGS: Final = groupings_of(SHIPPED)
BY_GROUPED_BY: Final = {grouping.grouped_by: grouping for grouping in GROUPINGS}
