"""What every export protocol has in common: a header, spans of octets after it, and faults with a place.

In: nothing. Out: the types that the wire formats return. Nothing here raises; what is wrong is a Fault in the result.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.problems import Reason

Longs = NDArray[np.int64]
HEAD_OCTETS: Final = 40
"""Octets that the headers of many datagrams are read from: the longest header there is, or a shorter one and the head of a set."""


class Fault(NamedTuple):
    """Something wrong at an offset of the datagram; `set_id` is 0 where no set is concerned."""

    reason: Reason
    offset: int
    text: str
    set_id: int = 0


class Header(NamedTuple):
    """An export header; `uptime_ms` is -1 where the protocol has none, `exported_ms` is the exporter's clock.

    Records or sets fill the octets from `start` to `end`.
    """

    version: int
    records: int
    uptime_ms: int
    exported_ms: int
    sequence: int
    domain: int
    start: int
    end: int
    sampling: int = 0


HeaderFields = tuple[int, int, int, int, int, int, int, int, int]


def make_header(fields: HeaderFields) -> Header:
    """A Header of all its fields. There is one for each datagram, and this takes half the time of calling the class."""
    return tuple.__new__(Header, fields)


class Headers(NamedTuple):
    """Headers of many datagrams of one protocol, one number each, as in Header; `set_id` is 0 where the protocol has no sets.

    `plain` is 1 where records of one kind follow the header, from `start` to `end`; else the rest means nothing.
    """

    plain: Longs
    records: Longs
    uptime_ms: Longs
    exported_ms: Longs
    sequence: Longs
    domain: Longs
    start: Longs
    end: Longs
    sampling: Longs
    set_id: Longs


Span = tuple[int, int, int]
"""One set: its id, and where the octets after its own header start and stop. A plain tuple, for the hot path."""
