"""GROUPINGS: every aggregate that the line keeps, one row each.

In: nothing. Out: the rows that drive ranking, document fields, store templates and API parameters. Refuses to know how the
numbers are computed. Names are Nephron's where it has the grouping.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WINDOW_MS: Final = 60_000
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
class Grouping:
    """One aggregate: `scope` (and DSCP) make the group, `kind` the items ranked in it.

    `multiplicity` is how often a flow counts in a group: hosts count it at both ends.
    """

    scope: Scope
    kind: Kind
    dscp: bool = False
    enabled: bool = True

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
        return 2 if self.kind is Kind.HOST else 1


WIDE: Final = (Scope.LOCATION, Scope.SYSTEM)
"""Scopes above the exporter: their groups are put together from all lanes."""

GROUPINGS: Final[tuple[Grouping, ...]] = tuple(
    Grouping(scope, kind, dscp, enabled=not dscp)
    for dscp in (False, True)
    for scope in Scope
    if scope is Scope.INTERFACE or not dscp
    for kind in Kind
)
BY_GROUPED_BY: Final = {grouping.grouped_by: grouping for grouping in GROUPINGS}
