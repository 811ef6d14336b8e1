"""The sources that the settings name, ready to be asked.

In: settings and the folder that their paths are relative to. Out: (name, source) in order of trust; raises ConfigError for secrets
that are not set. Refuses to know what the answers are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inventory.files import read_nodes
from inventory.gather import NodeSource
from inventory.http import HttpAccess
from inventory.json_api import JsonApi
from inventory.model import Gathered
from inventory.opennms import OpenNms
from inventory.options import OptionsFile, OptionsPage
from inventory.settings import FileSource, InventorySettings, JsonSource, OpenNmsSource, OptionsSource, SnmpSource, Source, secret
from inventory.snmp import poller_of


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A YAML or CSV file of nodes."""

    path: Path

    def gather(self) -> Gathered:
        """See `inventory.files`."""
        return read_nodes(self.path)


def sources_of(settings: InventorySettings, folder: Path) -> Sequence[tuple[str, NodeSource]]:
    """All sources with names that are unique."""
    named: dict[str, NodeSource] = {}
    for source in settings.sources:
        name = source.name or _name(source)
        while name in named:
            name += "'"
        named[name] = _source(source, folder)
    return list(named.items())


def _name(source: Source) -> str:
    match source:
        case FileSource():
            return f"file {source.path}"
        case OptionsSource():
            return f"options {source.path or source.url}"
        case SnmpSource():
            return f"snmp {source.location or ''}".strip()
        case _:
            return f"{source.type} {source.url}"


def _source(source: Source, folder: Path) -> NodeSource:
    match source:
        case FileSource():
            return NodeFile(folder / source.path)
        case OptionsSource():
            access = HttpAccess(source.timeout_s)
            return OptionsPage(source.url, access, source.location) if source.url else OptionsFile(folder / source.path)
        case OpenNmsSource():
            return OpenNms(source.url, _access(source), source.threads)
        case SnmpSource():
            return poller_of(source)
        case JsonSource():
            constants, interfaces = source.constants, source.interface_fields
            return JsonApi(source.url, _access(source), source.fields, source.records, source.next, interfaces, constants)


def _access(source: OpenNmsSource | JsonSource) -> HttpAccess:
    token = secret(source.token_env)
    headers = {"Authorization": f"{source.token_scheme} {token}"} if token else {}
    return HttpAccess(
        source.timeout_s, headers=headers, user=source.user, password=secret(source.password_env), verify=source.verify
    )
