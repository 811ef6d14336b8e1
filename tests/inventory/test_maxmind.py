"""Databases in MaxMind's format, made by a writer library."""

from pathlib import Path

import pyarrow as pa
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]

from columns.ranges import build_range_table, halves
from common.addresses import pack_address
from common.errors import ConfigError
from inventory.maxmind import Located, T, read_countries, read_systems

Record = dict[str, object]


def database(path: Path, records: dict[str, Record]) -> Path:
    """A database with these networks."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def _at(located: Located[T], *addresses: str) -> list[T | None]:
    column = halves(pa.array([pack_address(address) for address in addresses], pa.binary(16)))
    return [None if row < 0 else located.values[row] for row in build_range_table(located.ranges).look_up(column)]


def test_systems(tmp_path: Path) -> None:
    path = database(
        tmp_path / "as.mmdb",
        {
            "192.0.2.0/24": {"autonomous_system_number": 64_500, "autonomous_system_organization": "Example"},
            "192.0.2.128/25": {"autonomous_system_number": 64_501},
            "198.51.100.0/24": {"autonomous_system_organization": "no number"},
            "2001:db8::/32": {"autonomous_system_number": 64_500, "autonomous_system_organization": "Example"},
        },
    )
    addresses = ("192.0.2.1", "192.0.2.129", "198.51.100.1", "2001:db8::1", "2001:db9::1", "10.0.0.1", "::192.0.2.1")
    assert _at(read_systems(path), *addresses) == [(64_500, "Example"), (64_501, None), None, (64_500, "Example"), None, None, None]


def test_countries(tmp_path: Path) -> None:
    path = database(
        tmp_path / "country.mmdb",
        {
            "192.0.2.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
            "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
            "203.0.113.0/24": {"continent": {"code": "EU"}},
        },
    )
    assert _at(read_countries(path), "192.0.2.1", "198.51.100.1", "203.0.113.1") == ["DE", "FR", None]


@pytest.mark.parametrize("content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mmdb"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="no database in MaxMind's format"):
        read_systems(path)
    with pytest.raises(ConfigError, match="no database in MaxMind's format"):
        read_countries(tmp_path / "missing.mmdb")
