"""Whose records these are, where the sender of a message is not their exporter (`identity`): mediators, address translation.

In: data sets, and what options data announced. Out: the sets cut by the exporter of their records (elements 130 and 131, RFC 5102
sections 5.1.7 and 5.1.8), of fixed or of variable length. Pure.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from common.addresses import pack_address
from ingest.blocks import LONG_FORM
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
    cut = _cut_fixed if len(place.gaps) == 1 else _cut_variable
    for address, part, count in cut(place, octets, records):
        said = None if not any(address) else address if place.length == len(_MAPPED) + 4 else _MAPPED + address
        yield said, part, count


class _Place(NamedTuple):
    """Where a record has its exporter's address: octets after the variable field number `after`, or after its start.

    `gaps` are the octets of fixed fields before each field of variable length, and after the last.
    """

    after: int
    offset: int
    length: int
    gaps: tuple[int, ...]


def _place(spec: bytes) -> _Place | None:
    found: tuple[int, int, int] | None = None
    gaps = [0]
    for pen, element, length in SPECIFIER.iter_unpack(spec):
        if length == VARIABLE:
            gaps.append(0)
            continue
        if pen == 0 and found is None and _LENGTHS.get(element) == length:
            found = len(gaps) - 1, gaps[-1], length
        gaps[-1] += length
    return None if found is None else _Place(*found, tuple(gaps))


def _cut_fixed(place: _Place, octets: bytes, records: int) -> Iterator[tuple[bytes, bytes, int]]:
    size = place.gaps[0]
    rows = np.frombuffer(octets, np.uint8).reshape(-1, size)
    addresses = rows[:, place.offset : place.offset + place.length]
    changes = np.flatnonzero((addresses[1:] != addresses[:-1]).any(axis=1)) + 1
    for start, stop in pairwise([0, *changes.tolist(), records]):
        yield addresses[start].tobytes(), octets[start * size : stop * size], stop - start


def _cut_variable(place: _Place, octets: bytes, records: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Record by record: the records of one set are few, and whole (blocks.measure)."""
    address, begun, first = b"", 0, 0
    at = 0
    for record in range(records):
        found, end = _walk(place, octets, at)
        if record and found != address:
            yield address, octets[begun:at], record - first
            begun, first = at, record
        address, at = found, end
    if records:
        yield address, octets[begun:at], records - first


def _walk(place: _Place, octets: bytes, at: int) -> tuple[bytes, int]:
    """The address in the record that begins at `at`, and the record's end."""
    address = b""
    for number, gap in enumerate(place.gaps):
        if number:
            length = octets[at]
            at += 1 + length if length != LONG_FORM else 3 + int.from_bytes(octets[at + 1 : at + 3])
        if number == place.after:
            address = octets[at + place.offset : at + place.offset + place.length]
        at += gap
    return address, at
