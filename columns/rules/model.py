"""What a rule says, and in which order rules are asked.

In: rules and groups. Out: all enabled rules in one order, the first that fits a flow names its application. Refuses to know how
rules are written in files and how flows are matched fast.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from columns.rules.exporters import ExporterFilter
from columns.rules.spans import Spans

USER_GROUP: Final = "user-defined"
PREDEFINED_GROUP: Final = "pre-defined"

Exported = Literal["never", "first", "last"]
"""Whether the application that the exporter itself names (RFC 6759) is taken, before the rules or after them."""


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule as it is written; an empty field asks nothing."""

    name: str
    protocol: str = ""
    src_address: str = ""
    src_port: str = ""
    dst_address: str = ""
    dst_port: str = ""
    exporter_filter: str = ""
    omnidirectional: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a flow must satisfy, all of it; None asks nothing. Ports and addresses are sorted spans."""

    protocols: frozenset[int] | None = None
    src_addresses: Spans | None = None
    src_ports: Spans | None = None
    dst_addresses: Spans | None = None
    dst_ports: Spans | None = None
    exporter: ExporterFilter | None = None

    def reversed(self) -> "Conditions":
        """The same with both ends interchanged."""
        return replace(
            self,
            src_addresses=self.dst_addresses,
            src_ports=self.dst_ports,
            dst_addresses=self.src_addresses,
            dst_ports=self.src_ports,
        )

    @property
    def asked(self) -> int:
        """How many of protocol, addresses and ports are constrained; the exporter filter does not count."""
        return sum(getattr(self, field.name) is not None for field in fields(self) if field.name != "exporter")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a group; `line` is its place in the file that it came from, for messages; `number` is its id, 0 for none."""

    text: RuleText
    conditions: Conditions
    position: int
    line: int = 0
    number: int = 0

    @property
    def name(self) -> str:
        """The application that it stands for."""
        return self.text.name

    def directions(self) -> tuple[Conditions, ...]:
        """The conditions, and if the rule is omnidirectional also those with both ends interchanged."""
        if self.text.omnidirectional and (reverse := self.conditions.reversed()) != self.conditions:
            return (self.conditions, reverse)
        return (self.conditions,)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are asked together. The pre-defined group is read-only and asked last, whatever its position.

    `number` is its id, 0 for none.
    """

    name: str
    position: int
    rules: tuple[Rule, ...]
    enabled: bool = True
    predefined: bool = False
    number: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All groups. `version` names the rules in documents: it changes when the rules do."""

    groups: tuple[Group, ...]
    version: str
    exported: Exported = "never"

    def ranked(self) -> Iterator[tuple[Group, Rule]]:
        """Enabled rules in the order in which they are asked.

        By group (pre-defined last, then position), then position in the group; of two at one position the one that constrains
        more comes first, and of two that constrain as much the one that stands first.
        """
        for group in sorted(self.groups, key=lambda group: (group.predefined, group.position)):
            if group.enabled:
                for rule in sorted(group.rules, key=lambda rule: (rule.position, -rule.conditions.asked)):
                    yield group, rule
