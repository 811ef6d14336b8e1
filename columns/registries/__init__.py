"""Registries that come with the program, as their publishers keep them.

Out: IANA's service names by transport and port (RFC 6335) and its protocol numbers, in the order of the files. Refuses to know
what they are used for.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Service:
    """One assignment: `protocol` is the IANA protocol number of `keyword`."""

    port: int
    keyword: str
    protocol: int
    name: str


@cache
def protocol_numbers() -> Mapping[str, int]:
    """IANA protocol number by keyword in lower case, without remarks such as "(deprecated)"."""
    rows = ((row["keyword"], int(row["number"])) for row in _rows("iana-protocols.csv"))
    return MappingProxyType({keyword.partition(" (")[0].lower(): number for keyword, number in rows if keyword})


@cache
def services() -> tuple[Service, ...]:
    """Every named assignment of one port, in the order of the registry."""
    numbers = protocol_numbers()
    return tuple(
        Service(int(row["port"]), row["protocol"], numbers[row["protocol"]], row["service"])
        for row in _rows("iana-services.csv")
        if row["service"] and row["port"].isdigit()
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())
