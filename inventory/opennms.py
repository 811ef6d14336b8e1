"""Nodes of an OpenNMS, over its REST API.

In: the address of its web application (`http://host:8980/opennms`). Out: all nodes with categories, addresses and SNMP interfaces.
Refuses to know what they are for. Pages of 500; the interfaces of a node are two more requests, made by a few threads at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from inventory.http import HttpAccess, SourceError
from inventory.model import Gathered, Node, Problem
from inventory.records import Json, is_record, node_of

_PAGE: Final = 500
_MOST_PAGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class OpenNms:
    """The nodes of one OpenNMS."""

    url: str
    access: HttpAccess
    threads: int = 4

    def gather(self) -> Gathered:
        """All nodes; raises SourceError if any part does not answer, so that half an inventory is never taken for a whole one."""
        problems: list[Problem] = []
        records = list(self._pages("nodes", "node"))
        with ThreadPoolExecutor(self.threads) as pool:
            nodes = list(pool.map(lambda record: self._node(record, problems), records))
        return Gathered(tuple(node for node in nodes if node), tuple(problems))

    def _node(self, record: Mapping[str, Json], problems: list[Problem]) -> Node | None:
        identifier = str(record.get("id", ""))
        if not identifier.isdecimal():
            problems.append(Problem(self.url, f"a node has the id {identifier!r}"))
            return None
        addresses = [each.get("ipAddress") for each in self._pages(f"nodes/{identifier}/ipinterfaces", "ipInterface")]
        interfaces = [_interface(each) for each in self._pages(f"nodes/{identifier}/snmpinterfaces", "snmpInterface")]
        categories = record.get("categories")
        named = [each.get("name") for each in categories if is_record(each)] if isinstance(categories, Sequence) else []
        wanted: dict[str, Json] = {
            "foreign_source": record.get("foreignSource"),
            "foreign_id": record.get("foreignId"),
            "node_id": int(identifier),
            "label": record.get("label"),
            "location": record.get("location"),
            "categories": named,
            "addresses": addresses,
            "interfaces": [each for each in interfaces if each],
        }
        return node_of(wanted, f"{self.url}: node {identifier}", problems)

    def _pages(self, path: str, name: str) -> Iterator[Mapping[str, Json]]:
        """The records of a collection; OpenNMS answers 204 without a body when there are none."""
        url = f"{self.url.rstrip('/')}/rest/{path}"
        seen = 0
        for _ in range(_MOST_PAGES):
            page = self.access.get(url, {"limit": _PAGE, "offset": seen})
            records = page.get(name) if is_record(page) else None
            if not isinstance(records, Sequence) or isinstance(records, str):
                if page is None:
                    return
                raise SourceError(f"{url}: answer has no list '{name}'")
            yield from (record for record in records if is_record(record))
            seen += len(records)
            if len(records) < _PAGE:
                return
        raise SourceError(f"{url}: more than {_MOST_PAGES} pages")


def _interface(record: Mapping[str, Json]) -> dict[str, Json] | None:
    if record.get("ifIndex") is None:
        return None
    speed = record.get("ifSpeed")
    return {
        "index": record["ifIndex"],
        "name": record.get("ifName") or record.get("ifDescr"),
        "alias": record.get("ifAlias"),
        "speed": speed if isinstance(speed, int) and speed > 0 else None,
    }
