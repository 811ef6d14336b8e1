"""How long what is kept: the limits of each level, the same for every store.

In: settings. Out: days and octets per level, in the order in which levels go when a store is too large: what says most in
fewest octets goes last. Refuses to know how a store deletes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.config import Store
from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from flowpb.ledger import LEVEL_LEDGER


@dataclass(frozen=True, slots=True)
class Limit:
    """Days that something is kept, and octets that all of it may take; 0 octets: no limit of its own."""

    days: float
    bytes: int


def limits_of(settings: Store) -> Mapping[str, Limit]:
    """By level: raw, ledger, 1m, 1h, 1d."""
    return {
        "raw": Limit(settings.raw_days, settings.raw_bytes),
        LEVEL_LEDGER: Limit(settings.ledger_days, settings.ledger_bytes),
        LEVEL_MINUTE: Limit(settings.aggregate_days, settings.aggregate_bytes),
        LEVEL_HOUR: Limit(settings.hour_days, settings.hour_bytes),
        LEVEL_DAY: Limit(settings.day_days, settings.day_bytes),
    }
