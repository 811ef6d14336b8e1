"""Which application a flow counts as, by the registry of services (columns/registries/iana-services.csv).

Rule: among the rows for (protocol, source port) and (protocol, destination port) the one that comes first in the file wins. Rows
without a name, for a range of ports, or for another protocol than those four, make no rule.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Final

REGISTRY: Final = Path(__file__).resolve().parents[3] / "columns" / "registries" / "iana-services.csv"
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}


@cache
def rules() -> dict[tuple[int, int], tuple[int, str]]:
    """(protocol, port) to the row's number in the file and its name."""
    found: dict[tuple[int, int], tuple[int, str]] = {}
    with REGISTRY.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            if row["service"] and row["port"].isdigit() and row["protocol"] in _PROTOCOLS:
                found.setdefault((_PROTOCOLS[row["protocol"]], int(row["port"])), (number, row["service"]))
    return found


def application_of(protocol: int | None, src_port: int | None, dst_port: int | None) -> str | None:
    """The application's name, or None where no rule fits."""
    if protocol is None:
        return None
    ports = [port for port in (src_port, dst_port) if port is not None]
    matches = [rules()[protocol, port] for port in ports if (protocol, port) in rules()]
    return min(matches)[1] if matches else None
