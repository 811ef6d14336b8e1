"""Rules, groups and faults as JSON, with the names that OpenNMS's API has for them.

In: bodies of requests, and rules. Out: texts of rules, and JSON values. Refuses to know requests.
"""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from columns.rules.model import Group, Rule, RuleText
from columns.rules.text import Fault


class _GroupReference(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int


class RuleBody(BaseModel):
    """A rule as clients send it; `protocols` is a list, `protocol` the same as text."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str | None = None
    protocols: tuple[str, ...] = ()
    protocol: str | None = None
    srcAddress: str | None = None  # noqa: N815 - the names are those of the API
    srcPort: str | int | None = None  # noqa: N815
    dstAddress: str | None = None  # noqa: N815
    dstPort: str | int | None = None  # noqa: N815
    exporterFilter: str | None = None  # noqa: N815
    omnidirectional: bool = False
    position: int | None = None
    group: _GroupReference | None = None

    def text(self) -> RuleText:
        """The rule as it is written in a file."""
        protocol = ",".join(self.protocols) or self.protocol or ""
        ends = (self.srcAddress, self.srcPort, self.dstAddress, self.dstPort)
        source, source_port, destination, destination_port = ("" if each is None else str(each) for each in ends)
        name, exporter = self.name or "", self.exporterFilter or ""
        return RuleText(name, protocol, source, source_port, destination, destination_port, exporter, self.omnidirectional)


class GroupBody(BaseModel):
    """A group as clients send it; what is left out stays as it is."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str | None = None
    description: str | None = None
    position: int | None = None
    enabled: bool | None = None

    def changed(self, group: Group) -> Group:
        """The group with what the body gives."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return replace(group, **given)


def fault_json(fault: Fault) -> dict[str, str]:
    """What is wrong with an entity, or with one of its fields."""
    context = "entity" if fault.column == "line" else fault.column
    return {"context": context, "key": f"rule.{context}.invalid", "message": fault.message}


def rule_json(group: Group, rule: Rule) -> dict[str, Any]:
    """A rule with its group."""
    text = rule.text
    return {
        "id": rule.number,
        "name": text.name,
        "protocols": [part.strip() for part in text.protocol.split(",") if part.strip()],
        "srcAddress": text.src_address or None,
        "srcPort": text.src_port or None,
        "dstAddress": text.dst_address or None,
        "dstPort": text.dst_port or None,
        "exporterFilter": text.exporter_filter or None,
        "omnidirectional": text.omnidirectional,
        "position": rule.position,
        "group": group_json(group),
    }


def group_json(group: Group) -> dict[str, Any]:
    """A group without its rules."""
    return {
        "id": group.number,
        "name": group.name,
        "description": group.description or None,
        "position": group.position,
        "enabled": group.enabled,
        "readOnly": group.predefined,
        "ruleCount": len(group.rules),
    }
