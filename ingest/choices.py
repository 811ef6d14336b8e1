"""What the operator chose for an exporter's decoding: elements to keep besides the columns, flows inside tunnels.

In: settings. Out: per exporter one Choice. Refuses to know packets. A name that no element has is a configuration error.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from common.addresses import format_address
from common.config import ExporterSettings, Ingest
from common.errors import ConfigError
from ingest.elements import TYPES, Element, shipped
from ingest.exporter_rules import ExporterRules

Key = tuple[int, int]
ALL: Final = "all"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Choice:
    """Elements to keep: by key, all, or all without a name; whether to take the flow inside a tunnel."""

    keys: frozenset[Key] = frozenset()
    keep_all: bool = False
    keep_unknown: bool = False
    inner_flow: bool = False

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return bool(self.keys) or self.keep_all or self.keep_unknown


PLAIN: Final = Choice()


class Choices:
    """All choices of the settings; of several networks that match the longest prefix counts. Raises ConfigError."""

    def __init__(self, settings: Ingest) -> None:
        self.rules = ExporterRules(settings)
        self.elements = added_elements(settings)
        names = {element.name: key for key, element in (shipped() | self.elements).items()}
        entries = [
            (ip_network(network, strict=False), _choice(entry, names))
            for entry in settings.exporter_settings
            if entry.keep_elements or entry.inner_flow
            for network in entry.networks
        ]
        self._entries: list[tuple[IPv4Network | IPv6Network, Choice]] = sorted(entries, key=lambda item: -item[0].prefixlen)

    def of(self, exporter: bytes) -> Choice:
        """The choice for one exporter."""
        if not self._entries:
            return PLAIN
        address = ip_address(format_address(exporter))
        return next((choice for network, choice in self._entries if address in network), PLAIN)


def added_elements(settings: Ingest) -> dict[Key, Element]:
    """Elements of the settings by (enterprise, id); raises ConfigError for a type that RFC 7012 does not have."""
    wrong = [
        f"ingest.elements: {item.name}: no abstract data type is called {item.type!r}"
        for item in settings.elements
        if item.type not in (*TYPES, "unsigned256")
    ]
    if wrong:
        raise ConfigError(wrong)
    return {(item.pen, item.id): Element(item.pen, item.id, item.name, item.type) for item in settings.elements}


def _choice(entry: ExporterSettings, names: dict[str, Key]) -> Choice:
    words = set(entry.keep_elements) - {ALL, UNKNOWN}
    keys = {word: names.get(word) or _numbers(word) for word in words}
    wrong = sorted(word for word, key in keys.items() if key is None)
    if wrong:
        raise ConfigError([f"ingest.exporter_settings: keep_elements: no element is called {word!r}" for word in wrong])
    return Choice(
        frozenset(key for key in keys.values() if key is not None),
        ALL in entry.keep_elements,
        UNKNOWN in entry.keep_elements,
        entry.inner_flow,
    )


def _numbers(word: str) -> Key | None:
    pen, _, number = word.rpartition(".")
    return (int(pen or 0), int(number)) if number.isdecimal() and (not pen or pen.isdecimal()) else None
