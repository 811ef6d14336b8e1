"""What bounds the state of a lane and what is counted in it: the settings of the aggregation core."""

from dataclasses import dataclass
from typing import Final

from flowpb.groupings import TOP_K, Values

OVERFLOW_IF_INDEX: Final = 2**32 - 1
"""The interface that takes the rows of all interfaces of an exporter and window beyond `Limits.interfaces`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`young` and `old` are the items kept per group before and from the first mark on; never fewer than 2 x top_k are kept.

    A table (one kind of one lane, window and level) with room below `young_items` or `old_items` shares it out evenly: where groups
    are few, each keeps more. `interfaces` bounds the interfaces per exporter and window; `with_dscp` adds the groupings by DSCP;
    `values` are the kinds that are ranked besides the fixed ones; `both_sides` also counts an ingress flow as out-traffic of its
    output interface; with `edge_only` location and system scope count at external interfaces alone,
    with `deduplicate` each conversation of a location once. With `nodes` the exporters' nodes are those that flows bring.
    """

    top_k: int = TOP_K
    young: int = 256
    old: int = 64
    young_items: int = 0
    old_items: int = 0
    with_dscp: bool = False
    both_sides: bool = False
    edge_only: bool = False
    deduplicate: bool = False
    nodes: bool = False
    interfaces: int = 4096
    values: tuple[Values, ...] = ()

    def candidates(self, young: bool, groups: int = 0) -> int:
        """Items that each of `groups` groups keeps when their table is pruned."""
        least, items = (self.young, self.young_items) if young else (self.old, self.old_items)
        return max(least, items // max(1, groups), 2 * self.top_k)
