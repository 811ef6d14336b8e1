"""Groups, sides, items, ranks (numbers.md sections 5 to 7)."""

import json
from dataclasses import dataclass, field
from typing import Final

from flowpb.groupings import Grouping, Kind, Scope, Values

from .flows import Flow, address_text
from .judge import Share

_INGRESS, _EGRESS = 0, 1
_COUNTERS: Final = ("bytes", "packets", "flows", "bytes_unscaled", "packets_unscaled")

Conversation = tuple[str | None, int | None, bytes | None, bytes | None, str | None]
Item = str | bytes | int | Conversation | None
Value = int | str | bool | None
Document = dict[str, Value]


@dataclass(slots=True)
class Measures:
    """Counters of the in-side and the out-side, and what ECN said."""

    sides: tuple[dict[str, int], dict[str, int]] = field(
        default_factory=lambda: (dict.fromkeys(_COUNTERS, 0), dict.fromkeys(_COUNTERS, 0))
    )
    congestion_encountered: bool = False
    non_ect: bool = False

    def add(self, share: Share, side: int, tos: int | None) -> None:
        """One row."""
        for counter in _COUNTERS:
            self.sides[side][counter] += getattr(share, counter)
        self.congestion_encountered |= tos is not None and tos & 3 == 3
        self.non_ect |= tos is None or tos & 3 == 0

    def put_together(self, other: "Measures", counting: tuple[int, ...]) -> None:
        """Adds the sides that count, and what ECN said of either."""
        for side in counting:
            for counter in _COUNTERS:
                self.sides[side][counter] += other.sides[side][counter]
        self.congestion_encountered |= other.congestion_encountered
        self.non_ect |= other.non_ect

    def total(self, counter: str, counting: tuple[int, ...]) -> int:
        """Sum over the sides that count."""
        return sum(self.sides[side][counter] for side in counting)


@dataclass(slots=True)
class Group:
    """One group of one window."""

    grouping: Grouping
    rows: int = 0
    ingress_rows: int = 0
    total: Measures = field(default_factory=Measures)
    items: dict[Item, Measures] = field(default_factory=dict)

    def add(self, share: Share, side: int, tos: int | None, items: list[Item]) -> None:
        """One row, which counts for each of `items` (a host that is both ends comes twice)."""
        self.rows += 1
        self.ingress_rows += side == _INGRESS
        self.total.add(share, side, tos)
        for item in items:
            self.items.setdefault(item, Measures()).add(share, side, tos)

    def put_together(self, exporter: "Group") -> None:
        """Adds what counts of an exporter's group: its rows and items, and the counters of the side that counts for it."""
        self.rows += exporter.rows
        self.total.put_together(exporter.total, exporter.counting)
        for item, measures in exporter.items.items():
            self.items.setdefault(item, Measures()).put_together(measures, exporter.counting)

    @property
    def counting(self) -> tuple[int, ...]:
        """The sides that make the total: both of an interface, one of an exporter, what was put together above it."""
        if self.grouping.scope is Scope.EXPORTER:
            return (_INGRESS,) if self.ingress_rows else (_EGRESS,)
        return _INGRESS, _EGRESS

    def documents(self, k: int) -> list[Document]:
        """Its documents by slot, without what names the group."""
        if self.grouping.kind is Kind.TOTAL:
            return [self._document("TOTAL", 0, self.total)]
        order = sorted(self.items, key=lambda item: (-self.items[item].total("bytes", self.counting), sort_key(item)))
        found = [
            self._document("TOPK", slot, self.items[item]) | named(self.grouping.kind, item) for slot, item in enumerate(order[:k])
        ]
        if len(order) > k:
            found.append(self._document("OTHER", k, self._other(order[:k])))
        return found

    def _other(self, ranked: list[Item]) -> Measures:
        rest = Measures(congestion_encountered=self.total.congestion_encountered, non_ect=self.total.non_ect)
        for side in (_INGRESS, _EGRESS):
            for counter in _COUNTERS:
                whole = self.grouping.multiplicity * self.total.sides[side][counter]
                rest.sides[side][counter] = whole - sum(self.items[item].sides[side][counter] for item in ranked)
        return rest

    def _document(self, kind: str, slot: int, measures: Measures) -> Document:
        document: Document = {"grouped_by": self.grouping.grouped_by, "aggregation_type": kind, "slot": slot}
        document |= named(Kind.TOTAL, None)
        for counter in ("bytes", "packets", "flows"):
            document[f"{counter}_ingress"] = measures.sides[_INGRESS][counter]
            document[f"{counter}_egress"] = measures.sides[_EGRESS][counter]
            document[f"{counter}_total"] = measures.total(counter, self.counting)
        for counter in ("bytes_unscaled", "packets_unscaled"):
            document[counter] = measures.total(counter, self.counting)
        document |= {"congestion_encountered": measures.congestion_encountered, "non_ect": measures.non_ect}
        return document | {"error": 0, "floor": 0, "rows": self.rows}


def items_of(kind: Kind | Values, flow: Flow, application: str | None) -> list[Item]:
    """The items that a flow counts for."""
    if isinstance(kind, Values):
        return [flow.value(column) for column in kind.columns]
    if kind is Kind.APPLICATION:
        return [application]
    if kind is Kind.HOST:
        return [flow.src_addr, flow.dst_addr]
    if kind is Kind.CONVERSATION:
        lower, upper = sorted((flow.src_addr, flow.dst_addr), key=_nulls_first)
        return [(flow.location, flow.protocol, lower, upper, application)]
    return []


def sides_of(flow: Flow, scope: Scope, both_sides: bool) -> list[tuple[int | None, int]]:
    """(ifIndex, side) of each row of a flow at a scope; 255 and null are the unknown direction."""
    ingress, egress = flow.direction == 0, flow.direction == 1
    if scope is Scope.EXPORTER:
        return [(None, _EGRESS if egress else _INGRESS)]
    into, out = (flow.in_if or 0, _INGRESS), (flow.out_if or 0, _EGRESS)
    if ingress:
        return [into, out] if both_sides else [into]
    return [out] if egress else [into, out]


def named(kind: Kind | Values, item: Item) -> Document:
    """The columns that name an item; all null for totals and Other."""
    document: Document = {"application": None, "host_address": None, "conversation_key": None, "item": None}
    if isinstance(kind, Values) and not isinstance(item, tuple):
        document["item"] = None if item is None else str(item)
    if isinstance(item, str) and kind is Kind.APPLICATION:
        document["application"] = item
    if isinstance(item, bytes) and kind is Kind.HOST:
        document["host_address"] = address_text(item)
    if isinstance(item, tuple):
        location, protocol, lower, upper, application = item
        members = [location, protocol, address_text(lower), address_text(upper), application]
        document["conversation_key"] = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return document


def sort_key(item: Item) -> tuple[tuple[bool, bytes | int], ...]:
    """Order of items of one kind: null first, then by octets or number, member by member."""
    members = item if isinstance(item, tuple) else (item,)
    return tuple(_nulls_first(member.encode() if isinstance(member, str) else member) for member in members)


def _nulls_first(member: bytes | int | None) -> tuple[bool, bytes | int]:
    return (False, b"") if member is None else (True, member)
