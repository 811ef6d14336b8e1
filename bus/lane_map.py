"""Which partitions of a topic carry lanes: as many as it had at first, for ever.

In: a Kafka target. Out: the number by which lanes are dealt out (`partition_of`). Partitions that are added later take no lanes: a
lane that moved would be in two partitions, whose readers know nothing of each other, and its newer batches would be read before
its older ones. The number is written once into a compacted topic beside the bus's, by the first producer: what there is, or
`partitions` of its URL. Refuses to move anything, and a URL that says another number: who wants more partitions of lanes makes a
new topic.
"""

import logging
from typing import Final

from bus.compacted import beside, read_table, write_table
from bus.kafka_client import KafkaTarget
from common.errors import BusError

_SUFFIX: Final = "lanes"
_KEY: Final = b"partitions"
log = logging.getLogger(__name__)


def home_partitions(target: KafkaTarget, there_are: int) -> int:
    """Partitions 0 .. n-1 carry lanes; raises BusError where the topic has fewer, or the URL says other than what was written."""
    wanted = target.partitions if target.pinned else _recorded(target, there_are)
    if wanted > there_are:
        raise BusError(
            f"{target}, topic {target.topic}: has {there_are} partitions, but its lanes are dealt out over {wanted}; "
            f"say so in bus.url (?partitions={there_are}) if the topic is new, else add the missing ones"
        )
    return _agreed(target) if target.pinned else wanted


def recorded_partitions(target: KafkaTarget) -> int | None:
    """What the URL or else the first producer says; None where nobody has said anything. Raises BusError."""
    if target.pinned:
        return target.partitions
    return _written(beside(target, _SUFFIX))


def _agreed(target: KafkaTarget) -> int:
    """What the URL says, if no collector has said anything else before; unchecked where we may not make or read that topic."""
    try:
        known = _recorded(target, target.partitions)
    except BusError as error:
        log.warning("whether other collectors deal lanes out over %d partitions, too, is not known: %s", target.partitions, error)
        return target.partitions
    if known != target.partitions:
        raise BusError(
            f"{target}, topic {target.topic}: its lanes are dealt out over {known} partitions, as topic {target.topic}-{_SUFFIX} "
            f"says, but bus.url says partitions={target.partitions}: say {known} in every collector's URL, or nothing"
        )
    return known


def _recorded(target: KafkaTarget, there_are: int) -> int:
    table = beside(target, _SUFFIX)
    if (known := _written(table)) is not None:
        return known
    write_table(table, {_KEY: b"%d" % there_are})
    return _written(table) or there_are


def _written(table: KafkaTarget) -> int | None:
    known = read_table(table).get(_KEY)
    return None if known is None else int(known)
