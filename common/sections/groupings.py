"""Settings of what is ranked: the kinds of values besides applications, hosts and conversations."""

import importlib
from typing import Final, Literal

from pydantic import Field, field_validator

from common.sections.section import Section
from flowpb.groupings import SHIPPED, Scope, Values

_RESERVED: Final = frozenset(
    {
        *("total", "application", "applications", "host", "hosts", "conversation", "conversations", "other", "slot"),
        *("as", "country", "countries", "protocol", "protocols", "location", "locations", "system"),
        *("exporter", "exporters", "interface", "interfaces", "dscp", "tos"),
    }
)
_MOST_OWN: Final = 8


class OwnGrouping(Section):
    """An aggregate of your own: the top values of a column, or of a pair of columns, of which a flow counts at both."""

    name: str = Field(
        pattern="^[a-z][a-z0-9_]{0,31}$", description="Its name in questions; documents have it in capitals in grouped_by."
    )
    columns: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="One column of a flow, or a source and a destination column of one type."
    )
    scopes: tuple[Literal["interface", "exporter", "location", "system"], ...] = Field(
        ("interface", "exporter", "location", "system"), min_length=1, description="What it is kept for."
    )

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in _RESERVED or name.startswith(("interface_", "tos_")):
            raise ValueError(f"{name} is a name of Nephrite's own, take another")
        return name

    @field_validator("columns")
    @classmethod
    def _can_be_ranked(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        schema = importlib.import_module("flowpb.schema")  # Arrow takes longer to load than most commands need
        faults = []
        for name in columns:
            if name not in schema.BY_NAME:
                faults.append(f"{name} is no column of a flow")
            elif name not in schema.RANKABLE:
                faults.append(f"{name} cannot be ranked, it is neither a small number nor a text nor an address")
        if len(set(columns)) < len(columns):
            faults.append(f"{columns[0]} is named twice")
        if not faults and len({schema.BY_NAME[name].type for name in columns}) > 1:
            faults.append(f"{' and '.join(columns)} are of different types")
        if faults:
            raise ValueError("; ".join(faults))
        return columns


class Groupings(Section):
    """What is ranked besides applications, hosts and conversations."""

    kinds: tuple[Literal["as", "country", "protocol"], ...] = Field(
        ("protocol",), description="Which of as (autonomous systems of both ends), country (of both ends) and protocol are kept."
    )
    own: tuple[OwnGrouping, ...] = Field((), max_length=_MOST_OWN, description="Groupings of your own.")

    @field_validator("kinds")
    @classmethod
    def _once(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kinds))

    @field_validator("own")
    @classmethod
    def _names_are_distinct(cls, own: tuple[OwnGrouping, ...]) -> tuple[OwnGrouping, ...]:
        names = [grouping.name for grouping in own]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        return own

    def values(self) -> tuple[Values, ...]:
        """The kinds as the aggregation takes them, shipped ones first."""
        shipped = tuple(kind for kind in SHIPPED if kind.name.lower() in self.kinds)
        return shipped + tuple(
            Values(own.name.upper(), own.columns, tuple(scope for scope in Scope if scope.name.lower() in own.scopes))
            for own in self.own
        )
