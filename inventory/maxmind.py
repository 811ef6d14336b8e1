"""Autonomous systems and countries from databases in MaxMind's format, as ranges.

In: a file such as GeoLite2-ASN or GeoLite2-Country, or any other with the same fields. Out: the distinct systems or countries, and
address ranges that lead to them. Walked once, when the snapshot is made: a worker never opens the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import maxminddb

from columns.ranges import AddressRange
from common.errors import ConfigError

_FIRST_IPV4: Final = 0xFFFF << 32
T = TypeVar("T")

System = tuple[int, str | None]
"""Number and name."""


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """Distinct values, and the ranges whose value is a place among them."""

    values: tuple[T, ...]
    ranges: tuple[AddressRange, ...]


NO_SYSTEMS: Final[Located[System]] = Located((), ())
NO_COUNTRIES: Final[Located[str]] = Located((), ())


def read_systems(path: Path) -> Located[System]:
    """The autonomous systems of a database; raises ConfigError if it is none."""
    return _read(path, _system)


def read_countries(path: Path) -> Located[str]:
    """ISO codes of countries; where a network has none, of the country it is registered in; raises ConfigError."""
    return _read(path, _country)


def _read(path: Path, value_of: Callable[[Any], T | None]) -> Located[T]:
    values: dict[T, int] = {}
    ranges: list[AddressRange] = []
    try:
        with maxminddb.open_database(path, maxminddb.MODE_MMAP) as database:
            for network, record in database:
                value = value_of(record)
                if value is not None:
                    shift = _FIRST_IPV4 if network.version == 4 else 0
                    first, last = int(network.network_address) + shift, int(network.broadcast_address) + shift
                    ranges.append(AddressRange(first, last, values.setdefault(value, len(values))))
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigError([f"{path}: no database in MaxMind's format: {error}"]) from error
    return Located(tuple(values), tuple(ranges))


def _system(record: Any) -> System | None:
    number = record.get("autonomous_system_number") if isinstance(record, dict) else None
    if not isinstance(number, int):
        return None
    name = record.get("autonomous_system_organization")
    return number, name if isinstance(name, str) else None


def _country(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    for field in ("country", "registered_country"):
        place = record.get(field)
        if isinstance(place, dict) and isinstance(place.get("iso_code"), str):
            return str(place["iso_code"])
    return None
