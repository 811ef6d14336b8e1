"""Names of what can be ranked: the fixed items, the kinds that are shipped, and the operator's own groupings.

In: a name as people write it, and the settings. Out: what to ask a store for. Refuses to ask.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from common.config import Groupings
from common.errors import UsageError
from flowpb.groupings import AUTONOMOUS_SYSTEM, COUNTRY, PROTOCOL, Values
from stores.questions import Items, Ranked

SHIPPED: Final[Mapping[str, Values]] = {"as": AUTONOMOUS_SYSTEM, "countries": COUNTRY, "protocols": PROTOCOL}


def ranked_of(name: str, groupings: Groupings) -> Ranked:
    """What a name means; raises UsageError with all names there are. What no aggregate is kept of, raw flows answer."""
    kept = groupings.values()
    shipped = {each: kind if kind in kept else replace(kind, scopes=()) for each, kind in SHIPPED.items()}
    own = {kind.name.lower(): kind for kind in kept if kind not in SHIPPED.values()}
    known: dict[str, Ranked] = {**{items.value: items for items in Items}, **shipped, **own}
    if name not in known:
        raise UsageError(f"nothing is ranked as {name!r}: there are {', '.join(known)}")
    return known[name]


def word_of(ranked: Ranked) -> str:
    """The name of what is ranked."""
    if isinstance(ranked, Items):
        return ranked.value
    return next((name for name, kind in SHIPPED.items() if kind.name == ranked.name), ranked.name.lower())
