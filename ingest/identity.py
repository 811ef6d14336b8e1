"""Whose records these are, where the sender of a message is not their exporter (`identity`): mediators, address translation.

In: data sets, and what options data announced. Out: the sets cut by the exporter of their records (elements 130 and 131, RFC 5102
sections 5.1.7 and 5.1.8). Records of variable length are not cut; what options data says holds for them. Pure.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from common.addresses import pack_address
from ingest.exporters import Domain, Exporter
from ingest.templates import SPECIFIER, VARIABLE

_LENGTHS: Final = {130: 4, 131: 16}
_MAPPED: Final = bytes(10) + b"\xff\xff"
_WHOLE: Final = 0
"""The domain that stands for all of an exporter (RFC 7011 section 3.1)."""


def announced_by(exporter: Exporter, domain: Domain) -> bytes | None:
    """The address that options data of this domain, or of the one for all, gave."""
    whole = exporter.domains.get((domain.session, domain.version, _WHOLE))
    name = domain.facts.names.get("exporter") or (whole.facts.names.get("exporter") if whole else None)
    return pack_address(name) if name else None


def by_exporter(spec: bytes, octets: bytes, records: int) -> Iterator[tuple[bytes | None, bytes, int]]:
    """A set cut where the exporter of its records changes: address (None: not said), octets, records."""
    place = _place(spec)
    if place is None:
        yield None, octets, records
        return
    offset, length, size = place
    rows = np.frombuffer(octets, np.uint8).reshape(-1, size)
    addresses = rows[:, offset : offset + length]
    changes = np.flatnonzero((addresses[1:] != addresses[:-1]).any(axis=1)) + 1
    bounds = [0, *changes.tolist(), records]
    for start, stop in pairwise(bounds):
        address = addresses[start].tobytes()
        said = None if not any(address) else address if length == len(_MAPPED) + 4 else _MAPPED + address
        yield said, octets[start * size : stop * size], stop - start


def _place(spec: bytes) -> tuple[int, int, int] | None:
    """Offset and length of the exporter's address in a record, and the record's length."""
    found, offset = None, 0
    for pen, element, length in SPECIFIER.iter_unpack(spec):
        if length == VARIABLE:
            return None
        if pen == 0 and found is None and _LENGTHS.get(element) == length:
            found = offset, length
        offset += length
    return None if found is None else (*found, offset)
