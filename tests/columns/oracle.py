"""What docs/explanation/numbers.md says, flow by flow in plain Python: the truth that the columns are tested against.

Shares no code with columns/, only the contract; slow on purpose.
"""

import ipaddress
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flowpb.groupings import Values

MINUTE = 60_000
HORIZON = 15 * MINUTE
TOP = 2**63 - 1
MEASURES = ("bytes", "packets", "flows", "bytes_unscaled", "packets_unscaled")


@dataclass(frozen=True)
class Flow:
    """One flow as FLOW has it."""

    last_switched_ms: int
    first_switched_ms: int
    delta_switched_ms: int | None = None
    clock_correction_ms: int | None = None
    exporter_addr: bytes = bytes(15) + b"\x01"
    location: str | None = None
    src_addr: bytes | None = None
    dst_addr: bytes | None = None
    next_hop: bytes | None = None
    protocol: int | None = None
    tos: int | None = None
    in_if: int | None = None
    out_if: int | None = None
    direction: int | None = None
    bytes: int | None = None
    packets: int | None = None
    sampling_interval: float | None = None
    application: str | None = None
    in_if_side: str | None = None
    out_if_side: str | None = None
    src_as: int | None = None
    dst_as: int | None = None
    src_country: str | None = None
    dst_country: str | None = None


class Row(NamedTuple):
    """One (flow, window, side)."""

    flow: Flow
    interface: int
    is_in: bool
    of_exporter: bool
    values: Mapping[str, int]


@dataclass
class Answer:
    """Rows by window, and the counts of a lay-out."""

    windows: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[int] = field(default_factory=list)


def cut(value: int) -> int:
    return min(value, TOP)


def scaled(value: int, interval: float | None) -> tuple[int, bool]:
    if interval is None or not math.isfinite(interval) or interval <= 0:
        interval = 1.0
    if interval.is_integer():
        product = value * int(interval)
    else:
        exact = float(value) * interval
        product = TOP + 1 if exact >= 2.0**63 else math.floor(exact)
    return cut(product), product > TOP


def shares(value: int, start: int, end: int) -> dict[int, int]:
    if end == start:
        return {end // MINUTE * MINUTE: value}
    duration = end - start
    quotient, rest = divmod(value, duration)
    result, before = {}, 0
    for number in range(start // MINUTE, (end - 1) // MINUTE + 1):
        t = min((number + 1) * MINUTE - start, duration)
        until = quotient * t + rest * t // duration
        result[number * MINUTE] = until - before
        before = until
    return result


def answer(batches: Iterable[tuple[Iterable[Flow], int, int]], both_sides: bool = False) -> Answer:
    """Rows of batches of (flows, mark, frontier)."""
    result = Answer()
    number = 0
    for flows, mark, frontier in batches:
        for flow in flows:
            if not place(result, flow, mark, frontier, both_sides):
                result.refused.append(number)
                result.counts["late"] += 1
            number += 1
    return result


def place(result: Answer, flow: Flow, mark: int, frontier: int, both_sides: bool) -> bool:
    correction = flow.clock_correction_ms or 0
    start = (flow.first_switched_ms if flow.delta_switched_ms is None else flow.delta_switched_ms) + correction
    end = flow.last_switched_ms + correction
    if end > mark + MINUTE:
        end, start = mark, min(start, mark)
        result.counts["future"] += 1
    if start > end:
        start = end
        result.counts["reversed"] += 1
    clipped = min(end, max(start, frontier - HORIZON))
    if not clipped // MINUTE * MINUTE + MINUTE + HORIZON > frontier:
        return False
    octets, octets_cut = scaled(flow.bytes or 0, flow.sampling_interval)
    packets, packets_cut = scaled(flow.packets or 0, flow.sampling_interval)
    result.counts["saturated"] += octets_cut + packets_cut
    if clipped > start:
        quotient, rest = divmod(octets, end - start)
        result.counts["clipped_bytes"] += quotient * (clipped - start) + rest * (clipped - start) // (end - start)
    columns = {
        "bytes": shares(octets, clipped, end),
        "packets": shares(packets, clipped, end),
        "bytes_unscaled": shares(cut(flow.bytes or 0), clipped, end),
        "packets_unscaled": shares(cut(flow.packets or 0), clipped, end),
    }
    last = max(columns["bytes"])
    for window in columns["bytes"]:
        values = {name: column[window] for name, column in columns.items()} | {"flows": int(window == last)}
        for row in sides(flow, values, both_sides):
            result.windows[window].append(row)
            result.counts["rows"] += 1
    return True


def sides(flow: Flow, values: Mapping[str, int], both_sides: bool) -> list[Row]:
    if flow.direction == 1:
        return [Row(flow, flow.out_if or 0, False, True, values)]
    rows = [Row(flow, flow.in_if or 0, True, True, values)]
    if flow.direction != 0 or both_sides:
        rows.append(Row(flow, flow.out_if or 0, False, False, values))
    return rows


def text(address: bytes | None) -> str | None:
    if address is None:
        return None
    if address[:12] == bytes(10) + b"\xff\xff":
        return str(ipaddress.IPv4Address(address[12:]))
    return str(ipaddress.IPv6Address(address))


def order(value: Any) -> tuple[bool, Any]:
    """Null before everything."""
    return (value is not None, value.encode() if isinstance(value, str) else value if value is not None else b"")


def items(flow: Flow, kind: str | Values) -> list[tuple[Any, str | None]]:
    """(sort key, text) of each item that a flow counts in."""
    if isinstance(kind, Values):
        values = [getattr(flow, column) for column in kind.columns]
        shown = [text(value) if isinstance(value, bytes) else value for value in values]
        return [(order(value), None if value is None else str(value)) for value in shown]
    if kind == "APPLICATION":
        return [(order(flow.application), flow.application)]
    ends = sorted([flow.src_addr, flow.dst_addr], key=order)
    if kind == "HOST":
        return [(order(end), text(end)) for end in ends]
    key = [flow.location, flow.protocol, *(text(end) for end in ends), flow.application]
    protocol = -1 if flow.protocol is None else flow.protocol
    ties = (order(flow.location), protocol, *(order(end) for end in ends), order(flow.application))
    return [(ties, json.dumps(key, separators=(",", ":"), ensure_ascii=False))]


class Tally:
    """Sums of one item or group."""

    def __init__(self) -> None:
        self.sums = {True: Counter[str](), False: Counter[str]()}
        self.congested = self.non_ect = False

    def add(self, row: Row) -> None:
        side = self.sums[row.is_in]
        for name in MEASURES:
            side[name] = cut(side[name] + row.values[name])
        ecn = (row.flow.tos or 0) & 3
        self.congested |= ecn == 3
        self.non_ect |= ecn == 0

    def counters(self, counted: tuple[bool, ...]) -> dict[str, int]:
        def total(name: str) -> int:
            return cut(sum(self.sums[side][name] for side in counted))

        result: dict[str, int] = {}
        for name in ("bytes", "packets", "flows"):
            result |= {f"{name}_ingress": self.sums[True][name], f"{name}_egress": self.sums[False][name]}
            result[f"{name}_total"] = total(name)
        return result | {name: total(name) for name in ("bytes_unscaled", "packets_unscaled")}


KINDS: tuple[str | Values, ...] = ("TOTAL", "APPLICATION", "HOST", "CONVERSATION")
ITEM_FIELD = {"APPLICATION": "application", "HOST": "host_address", "CONVERSATION": "conversation_key"}
FIELDS = (*ITEM_FIELD.values(), "item")


def documents(rows: Iterable[Row], top_k: int, with_dscp: bool = False, values: Sequence[Values] = ()) -> list[dict[str, Any]]:
    """All documents of one window, exact, as AGGREGATE names the fields (without lane, mark, window and hash)."""
    groups: dict[tuple[str, Any], list[Row]] = defaultdict(list)
    for row in rows:
        place_ = (row.flow.location, row.flow.exporter_addr)
        groups["EXPORTER_INTERFACE", (*place_, row.interface, None)].append(row)
        if with_dscp:
            groups["EXPORTER_INTERFACE_TOS", (*place_, row.interface, (row.flow.tos or 0) >> 2)].append(row)
        if row.of_exporter:
            groups["EXPORTER", (*place_, None, None)].append(row)
    result = []
    for (name, group), members in groups.items():
        counted: tuple[bool, ...] = (True, False)
        if name == "EXPORTER":
            counted = (True,) if any(row.is_in for row in members) else (False,)
        for kind in (*KINDS, *(each for each in values if name.removesuffix("_TOS") in each.scopes)):
            result += group_documents(name, group, kind, members, counted, top_k)
    return result


def wide_documents(
    rows: Iterable[Row], top_k: int, values: Sequence[Values] = (), edge_only: bool = False, once: bool = False
) -> list[dict[str, Any]]:
    """Location and system scope: of each exporter the rows of the side that counts for it add to the counters."""
    exporters: dict[Any, list[Row]] = defaultdict(list)
    groups: dict[tuple[str, Any], list[Row]] = defaultdict(list)
    for row in rows:
        if row.of_exporter:
            exporters[row.flow.location, row.flow.exporter_addr].append(row)
    for (location, _), members in exporters.items():
        ingress = any(row.is_in for row in members)
        for row in members:
            if edge_only and (row.flow.in_if_side if row.is_in else row.flow.out_if_side) != "external":
                continue
            counted = row if row.is_in == ingress else row._replace(values=dict.fromkeys(MEASURES, 0))
            groups["LOCATION", (location, None, None, None)].append(counted)
    if once:
        groups = {name: counted_once(members) for name, members in groups.items()}
    everything = [row for members in groups.values() for row in members]
    groups |= {("SYSTEM", (None, None, None, None)): everything} if everything else {}
    return [
        document
        for (name, group), members in groups.items()
        for kind in (*KINDS, *(each for each in values if name in each.scopes))
        for document in group_documents(name, group, kind, members, (True, False), top_k)
    ]


def counted_once(rows: Iterable[Row]) -> list[Row]:
    """Of each conversation only the exporter with the largest sums keeps its counters."""
    sums: dict[Any, dict[bytes, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for row in rows:
        sums[items(row.flow, "CONVERSATION")[0][0]][row.flow.exporter_addr].add(row)
    best = {key: max(each, key=lambda exporter: size_of(each[exporter])) for key, each in sums.items()}
    nothing = dict.fromkeys(MEASURES, 0)
    return [
        row if best[items(row.flow, "CONVERSATION")[0][0]] == row.flow.exporter_addr else row._replace(values=nothing)
        for row in rows
    ]


def size_of(tally: Tally) -> tuple[int, ...]:
    """Octets, then the sums in the order of the core."""
    sides = [tally.sums[side][name] for name in MEASURES for side in (True, False)]
    return (sides[0] + sides[1], *sides)


def group_documents(
    name: str, group: Any, kind: str | Values, members: list[Row], counted: tuple[bool, ...], top_k: int
) -> list[dict[str, Any]]:
    total = Tally()
    tallies: dict[Any, Tally] = defaultdict(Tally)
    names: dict[Any, str | None] = {}
    for row in members:
        total.add(row)
        for key, label in items(row.flow, kind) if kind != "TOTAL" else []:
            tallies[key].add(row)
            names[key] = label
    common = {
        "grouped_by": name if kind == "TOTAL" else f"{name}_{kind.name if isinstance(kind, Values) else kind}",
        "location": group[0],
        "exporter_addr": text(group[1]),
        "if_index": group[2],
        "dscp": group[3],
        **dict.fromkeys(FIELDS),
        "error": 0,
        "floor": 0,
        "rows": len(members),
    }

    def document(entry: str, slot: int, tally: Tally, counters: dict[str, int]) -> dict[str, Any]:
        flags = {"congestion_encountered": tally.congested, "non_ect": tally.non_ect}
        return {**common, "aggregation_type": entry, "slot": slot, **counters, **flags}

    if kind == "TOTAL":
        return [document("TOTAL", 0, total, total.counters(counted))]
    ranked = sorted(tallies, key=lambda key: (-tallies[key].counters(counted)["bytes_total"], key))
    result = []
    ends = len(kind.columns) if isinstance(kind, Values) else 2 if kind == "HOST" else 1
    rest = {name: cut(value * ends) for name, value in total.counters(counted).items()}
    listed: Counter[str] = Counter()
    for slot, key in enumerate(ranked[:top_k]):
        counters = tallies[key].counters(counted)
        result.append(
            {**document("TOPK", slot, tallies[key], counters), (ITEM_FIELD[kind] if isinstance(kind, str) else "item"): names[key]}
        )
        for counter, value in counters.items():
            listed[counter] = cut(listed[counter] + value)
    if len(ranked) > top_k:
        result.append(document("OTHER", top_k, total, {name: max(0, value - listed[name]) for name, value in rest.items()}))
    return result
