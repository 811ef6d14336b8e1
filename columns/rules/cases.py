"""Tests of rules: flows in a file, each with the application that it must belong to.

In: a YAML list of cases and a rule book. Out: per case what was found; or every fault of the file at once. Refuses to know the
command that runs them.

    - name: web from the campus
      flow: {protocol: tcp, srcAddress: 10.1.2.3, srcPort: 40000, dstAddress: 192.0.2.1, dstPort: 443,
             exporterAddress: 10.0.0.1, location: Berlin, categories: [Routers]}
      application: https        # null: no rule may fit
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from columns.classify import Exporters
from columns.rules.explain import Match, OneFlow, matches, parse_end
from columns.rules.exporters import Exporter
from columns.rules.model import RuleBook
from columns.rules.text import parse_protocol
from common.addresses import pack_address
from common.errors import ConfigError


class FlowText(BaseModel):
    """A flow as people write it; what is left out is not exported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str | None = None
    srcAddress: str | None = None  # noqa: N815 - the names are those of the rule columns
    srcPort: int | None = Field(None, ge=0, le=65_535)  # noqa: N815
    dstAddress: str | None = None  # noqa: N815
    dstPort: int | None = Field(None, ge=0, le=65_535)  # noqa: N815
    exporterAddress: str | None = None  # noqa: N815
    location: str | None = None
    nodeId: int | None = None  # noqa: N815
    nodeLabel: str | None = None  # noqa: N815
    foreignSource: str | None = None  # noqa: N815
    foreignId: str | None = None  # noqa: N815
    categories: tuple[str, ...] = ()

    @field_validator("protocol", mode="before")
    @classmethod
    def _protocol(cls, value: object) -> object:
        return None if value is None else str(parse_protocol(str(value)))

    @field_validator("srcAddress", "dstAddress", "exporterAddress")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else str(ipaddress.ip_address(value))


class Case(BaseModel):
    """One flow and the application that it must belong to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    flow: FlowText
    application: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case; `match` is the rule that fits first, None if none does."""

    case: Case
    match: Match | None

    @property
    def found(self) -> str | None:
        """The application that the rules give."""
        return None if self.match is None else self.match.rule.name

    @property
    def passed(self) -> bool:
        """Whether it is the application that the case asks for."""
        return self.found == self.case.application


def read_cases(text: str, where: str) -> tuple[Case, ...]:
    """The cases of a file; raises ConfigError with every fault."""
    try:
        tree: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"{where}: not YAML: {' '.join(str(error).split())}"]) from error
    try:
        return TypeAdapter(tuple[Case, ...]).validate_python(tree)
    except ValidationError as error:
        faults = ((".".join(map(str, fault["loc"])) or "top level", fault["msg"]) for fault in error.errors())
        raise ConfigError([f"{where}: {place}: {message}" for place, message in faults]) from error


def run_cases(book: RuleBook, cases: Sequence[Case]) -> list[Outcome]:
    """What the rules say to each case, in order."""
    ranked = tuple(book.ranked())
    return [Outcome(case, next(matches(ranked, flow_of(case.flow)), None)) for case in cases]


def known_flow(text: FlowText, exporters: Exporters) -> OneFlow:
    """The flow that the text means; what is known of its exporter holds where the text says no more than address and location."""
    said = (text.nodeId, text.nodeLabel, text.foreignSource, text.foreignId, *text.categories)
    flow = flow_of(text)
    if text.exporterAddress is None or any(each is not None for each in said):
        return flow
    return replace(flow, exporter=exporters.describe(pack_address(text.exporterAddress), text.location))


def flow_of(text: FlowText) -> OneFlow:
    """The flow that the text means."""
    exporter = None
    if text.exporterAddress is not None:
        exporter = Exporter(
            int.from_bytes(pack_address(text.exporterAddress), "big"),
            text.location,
            text.nodeId,
            text.foreignSource,
            text.foreignId,
            text.nodeLabel,
            frozenset(text.categories),
        )
    return OneFlow(
        None if text.protocol is None else int(text.protocol),
        parse_end(text.srcAddress, text.srcPort),
        parse_end(text.dstAddress, text.dstPort),
        exporter,
    )
