"""Nodes of any service that answers JSON (NetBox and the like), through a small mapping.

In: a URL, and per field of a node the path of its value in a record. Out: the nodes. Refuses to know any particular service.

    url: https://netbox.example/api/dcim/devices/?limit=500
    records: results            # path of the list in an answer; empty if the answer is the list
    next: next                  # path of the URL of the next page
    fields: {foreign_id: id, label: name, location: site.slug, addresses: [primary_ip4.address, primary_ip6.address],
             categories: tags[].slug, interfaces: interfaces}
    interface_fields: {index: snmp_index, name: name, alias: description, speed: speed_bps}
    constants: {foreign_source: netbox}

A path is names with dots between; `name[]` goes through a list. A path that leads nowhere gives nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

from inventory.http import HttpAccess, SourceError
from inventory.model import Gathered, Node, Problem
from inventory.records import Json, is_record, node_of

_MOST_PAGES: Final = 10_000
Paths = str | Sequence[str]


@dataclass(frozen=True, slots=True)
class JsonApi:
    """One collection of a service and the mapping of its records."""

    url: str
    access: HttpAccess
    fields: Mapping[str, Paths]
    records: str = ""
    next: str = ""
    interface_fields: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)

    def gather(self) -> Gathered:
        """All nodes; raises SourceError if the service does not answer, or not with the list that was said."""
        problems: list[Problem] = []
        nodes: list[Node] = []
        for number, record in enumerate(self._all_records()):
            node = node_of(self._mapped(record), f"{self.url}: record {number}", problems)
            nodes += [node] if node else []
        return Gathered(tuple(nodes), tuple(problems))

    def _all_records(self) -> Iterator[Mapping[str, Json]]:
        url = self.url
        for _ in range(_MOST_PAGES):
            page = self.access.get(url)
            records = value_at(page, self.records)
            if isinstance(records, str) or not isinstance(records, Sequence):
                raise SourceError(f"{url}: answer has no list at '{self.records or 'top level'}'")
            yield from (record for record in records if is_record(record))
            following = value_at(page, self.next) if self.next else None
            if not isinstance(following, str) or not following:
                return
            url = self._checked(urljoin(url, following))
        raise SourceError(f"{self.url}: more than {_MOST_PAGES} pages")

    def _checked(self, url: str) -> str:
        """Credentials go to the configured host only."""
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            raise SourceError(f"{self.url}: the next page is on another host: {url}")
        return url

    def _mapped(self, record: Mapping[str, Json]) -> dict[str, Json]:
        mapped: dict[str, Json] = dict(self.constants)
        for name, paths in self.fields.items():
            values = [value_at(record, path) for path in ([paths] if isinstance(paths, str) else paths)]
            mapped[name] = values[0] if isinstance(paths, str) else [value for value in values if value is not None]
        interfaces = mapped.get("interfaces")
        if isinstance(interfaces, Sequence) and not isinstance(interfaces, str) and self.interface_fields:
            mapped["interfaces"] = [
                {name: value_at(each, path) for name, path in self.interface_fields.items()} for each in interfaces
            ]
        return mapped


def value_at(value: Json, path: str) -> Json:
    """The value at a path, None if it leads nowhere."""
    name, _, rest = path.partition(".")
    if not name:
        return value
    many = name.endswith("[]")
    below = value.get(name.removesuffix("[]")) if is_record(value) else None
    if not many:
        return value_at(below, rest)
    if isinstance(below, str) or not isinstance(below, Sequence):
        return None
    return [found for each in below if (found := value_at(each, rest)) is not None]
