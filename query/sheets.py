"""Answers as sheets: what each kind of answer shows to people and gives to programs.

In: an answer of a store with the plan that led to it. Out: a Sheet. Refuses to ask and to print.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowpb.groupings import AUTONOMOUS_SYSTEM, PROTOCOL, Values
from flowpb.schema import ProtocolVersion
from query.honesty import REASONS
from query.ledger_sheet import show_lost
from query.output import Sheet, Shown, Value, show_bytes, show_count, show_rate, show_share
from query.planner import Plan
from query.ranked import word_of
from query.times import show_span, show_time
from stores.contract import FLOWS_SCHEMA, MEASURES, Exporters, Flows, Measures, Provenance, Series, Top, TopItem
from stores.questions import Filters, Items, Key, Ranked, keys_of

_PROTOCOLS: Final = {
    1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6",
    88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 115: "l2tp", 132: "sctp", 136: "udplite",
}  # fmt: skip
"""Usual short names (IANA protocol numbers)."""
_TITLES: Final = {
    Items.APPLICATIONS: "Application",
    Items.HOSTS: "Host",
    Items.CONVERSATIONS: "Conversation",
    Items.INTERFACES: "Interface",
    Items.EXPORTERS: "Exporter",
}
_VERSIONS: Final = {
    ProtocolVersion.NETFLOW_V1: "NetFlow v1",
    ProtocolVersion.NETFLOW_V5: "NetFlow v5",
    ProtocolVersion.NETFLOW_V7: "NetFlow v7",
    ProtocolVersion.NETFLOW_V9: "NetFlow v9",
    ProtocolVersion.IPFIX: "IPFIX",
    ProtocolVersion.SFLOW_V5: "sFlow v5",
}
_NO_KEY: Final[Key] = (None,) * 5

_LOST: Final = tuple(column for column, _ in REASONS.values() if column != "flows_lost_on_bus")

_BOTH_ENDS: Final = "a flow counts at both of its hosts, so their total is twice the traffic"
_EACH_EXPORTER: Final = "a flow that several exporters saw counts for each of them; --exporter asks one alone"
_ONE_SIDE: Final = "an exporter that meters both directions is shown by its ingress side, so that nothing counts twice"


def top_sheet(answer: Top, items: Ranked, filters: Filters, plan: Plan) -> Sheet:
    """Items, Other and, for people, the total; rows add up to multiplicity x total."""
    rows = [_item_row(items, item, rank) for rank, item in enumerate(answer.items, 1)]
    rows.append(_row(items, _NO_KEY, "OTHER", len(rows) + 1, answer.other, 0))
    whole = answer.total.times(answer.multiplicity)
    measures = [*(item.measures for item in answer.items), answer.other, whole]
    labels = [*(show_item(items, item.key) for item in answer.items), "Other", "Total"]
    errors = [item.error for item in answer.items]
    error = (
        [Shown("Error", [*(f"+ {show_bytes(one)}" if one else "" for one in errors), "", ""], right=True)] if any(errors) else []
    )
    table = [
        Shown("#", [*(str(rank) for rank in range(1, len(rows))), "", ""], right=True),
        Shown(_title(items), labels),
        *_measured(measures, whole.bytes_total, _seen_ms(answer.provenance)),
        *error,
    ]
    about = {
        "items": word_of(items),
        **_about(answer.provenance, filters, plan),
        **_counted(items, filters),
        "multiplicity": answer.multiplicity,
        "total": _named(answer.total),
        "accuracy": {"error": max(errors, default=0), "floor": answer.floor},
    }
    notes = [
        *([plan.note] if plan.note else []),
        *_accuracy(answer),
        *([_BOTH_ENDS] if answer.multiplicity > 1 else []),
        *_several(items, filters),
    ]
    columns = ["rank", "aggregation_type", *keys_of(items), *MEASURES, "error"]
    return Sheet(rows, columns, table, about, _caption(f"Top {word_of(items)}", answer.provenance, filters), notes)


def series_sheet(answer: Series, items: Ranked | None, filters: Filters, step_ms: int, plan: Plan) -> Sheet:
    """One row per step and item for programs; for people one per step, with a column of rates per item."""
    points = answer.points.to_pylist()
    keys = [*answer.items, _NO_KEY] if items else [()]
    rows = [
        {
            "start_ms": point["start_ms"],
            **(_ranked(items, keys[point["rank"]], "OTHER" if point["rank"] == len(answer.items) else "TOPK") if items else {}),
            **{name: point[name] for name in (*MEASURES, "error")},
        }
        for point in points
    ]
    starts = sorted({point["start_ms"] for point in points})
    cells = {(point["start_ms"], point["rank"]): point for point in points}
    table = [Shown("Start", [show_time(start) for start in starts])]
    if items:
        labels = [*(show_item(items, key) for key in answer.items), "Other"]
        for rank, label in enumerate(labels):
            rates = [show_rate(cells[start, rank]["bytes_total"] if (start, rank) in cells else 0, step_ms) for start in starts]
            table.append(Shown(label, rates, right=True))
    else:
        measures = [Measures(*(cells[start, 0][name] for name in MEASURES)) for start in starts]
        table.extend(_measured(measures, None, step_ms))
    about = {
        "items": items and word_of(items),
        **_about(answer.provenance, filters, plan),
        **_counted(items, filters),
        "step_ms": step_ms,
    }
    caption = _caption(f"{word_of(items).capitalize()} over time" if items else "Traffic over time", answer.provenance, filters)
    key = ["aggregation_type", *keys_of(items)] if items else []
    notes = [*([plan.note] if plan.note else []), *_several(items, filters)]
    return Sheet(rows, ["start_ms", *key, *MEASURES, "error"], table, about, caption, notes)


def flows_sheet(answer: Flows, filters: Filters, order: str, plan: Plan) -> Sheet:
    """Raw flows; counters as exported. People read names where they are known; programs get them beside numbers and addresses."""
    rows = answer.rows.to_pylist()
    located = len({row["location"] for row in rows}) > 1
    sampled = any(row["sampling_interval"] not in (None, 0, 1) for row in rows)
    table = [
        Shown("Start", [show_time(row["start_ms"]) for row in rows]),
        Shown("Seconds", [f"{(row['end_ms'] - row['start_ms']) / 1000:.3f}" for row in rows], right=True),
        *([Shown("Location", [_text(row["location"]) for row in rows])] if located else []),
        Shown("Exporter", [_exporter(row) for row in rows]),
        _interfaces("In", rows, "in_if"),
        _interfaces("Out", rows, "out_if"),
        Shown("Proto", [show_protocol(row["protocol"]) for row in rows]),
        Shown("Source", [_named_end(row, "src") for row in rows]),
        Shown("Destination", [_named_end(row, "dst") for row in rows]),
        Shown("Bytes", [f"{row['bytes'] or 0:,}" for row in rows], right=True),
        Shown("Packets", [f"{row['packets'] or 0:,}" for row in rows], right=True),
        *([Shown("Sampled 1 in", [f"{row['sampling_interval'] or 1:g}" for row in rows], right=True)] if sampled else []),
        Shown("Application", [row["application"] or "" for row in rows]),
    ]
    about = {**_about(answer.provenance, filters, plan), "matched": answer.matched, "order": order}
    caption = f"{_caption('Flows', answer.provenance, filters)}\n{len(rows):,} of {answer.matched:,} flows, {order} first"
    return Sheet(rows, FLOWS_SCHEMA.names, table, about, caption, [plan.note] if plan.note else [])


def exporters_sheet(answer: Exporters, plan: Plan, losses: Mapping[str, dict[str, int]] | None = None) -> Sheet:
    """Who exported what, and when; and what the ledger counts as lost, where it knows an exporter."""
    losses = losses or {}
    span_ms = _seen_ms(answer.provenance)
    rows = [
        {
            "exporter": row.exporter,
            "location": row.location,
            "protocols": [_version(number) for number in row.protocols],
            "interfaces": row.interfaces,
            **_named(row.measures),
            "first_ms": row.first_ms,
            "last_ms": row.last_ms,
            **{name: losses[row.exporter][name] if row.exporter in losses else None for name in _LOST},
        }
        for row in answer.rows
    ]
    table = [
        Shown("Exporter", [row.exporter for row in answer.rows]),
        Shown("Protocols", [", ".join(map(_version, row.protocols)) for row in answer.rows]),
        Shown("Interfaces", [str(row.interfaces) for row in answer.rows], right=True),
        Shown("Flows", [show_count(row.measures.flows_total) for row in answer.rows], right=True),
        Shown("Bytes", [show_bytes(row.measures.bytes_total) for row in answer.rows], right=True),
        Shown("Rate", [show_rate(row.measures.bytes_total, span_ms) for row in answer.rows], right=True),
        *([Shown("Lost", [show_lost(losses.get(row.exporter)) for row in answer.rows], right=True)] if losses else []),
        Shown("First seen", [show_time(row.first_ms) for row in answer.rows]),
        Shown("Last seen", [show_time(row.last_ms) for row in answer.rows]),
    ]
    columns = ["exporter", "location", "protocols", "interfaces", *MEASURES, "first_ms", "last_ms", *_LOST]
    both = any(row.measures.flows_ingress and row.measures.flows_egress for row in answer.rows)
    notes = [*([plan.note] if plan.note else []), *([_ONE_SIDE] if both else [])]
    about = _about(answer.provenance, Filters(), plan)
    return Sheet(rows, columns, table, about, _caption("Exporters", answer.provenance, Filters()), notes)


def _title(items: Ranked) -> str:
    return _TITLES[items] if isinstance(items, Items) else "AS" if items == AUTONOMOUS_SYSTEM else items.name.capitalize()


def show_item(items: Ranked, key: Key) -> str:
    """An item's key as people read it."""
    if items is Items.APPLICATIONS:
        return _text(key[0]) or "(no application)"
    if items is Items.HOSTS:
        return _text(key[0]) or "(no address)"
    if items is Items.INTERFACES:
        return f"{key[1]} if {key[2]}"
    if items is Items.EXPORTERS:
        return _text(key[1])
    if isinstance(items, Values):
        return _show_value(items, key[0])
    _, protocol, lower, upper, application = key
    ends = f"{lower or '(no address)'} <-> {upper or '(no address)'}"
    return " ".join(filter(None, (ends, show_protocol(protocol), _text(application))))


def _show_value(kind: Values, value: str | int | None) -> str:
    if value is None:
        return f"(no {'AS' if kind == AUTONOMOUS_SYSTEM else kind.name.lower()})"
    if kind == PROTOCOL:
        return show_protocol(value)
    return f"AS{value}" if kind == AUTONOMOUS_SYSTEM else str(value)


def show_protocol(number: str | int | None) -> str:
    """The usual name of an IP protocol, or its number."""
    return "" if number is None else _PROTOCOLS.get(int(number), str(number))


def _measured(measures: Sequence[Measures], whole: int | None, span_ms: int) -> list[Shown]:
    share = [Shown("Share", [show_share(one.bytes_total, whole) for one in measures], right=True)] if whole is not None else []
    return [
        Shown("Bytes", [show_bytes(one.bytes_total) for one in measures], right=True),
        *share,
        Shown("Rate", [show_rate(one.bytes_total, span_ms) for one in measures], right=True),
        Shown("In", [show_bytes(one.bytes_ingress) for one in measures], right=True),
        Shown("Out", [show_bytes(one.bytes_egress) for one in measures], right=True),
        Shown("Packets", [show_count(one.packets_total) for one in measures], right=True),
        Shown("Flows", [show_count(one.flows_total) for one in measures], right=True),
    ]


def _item_row(items: Ranked, item: TopItem, rank: int) -> dict[str, Value]:
    return _row(items, item.key, "TOPK", rank, item.measures, item.error)


def _row(items: Ranked, key: Key, kind: str, rank: int, measures: Measures, error: int) -> dict[str, Value]:
    return {"rank": rank, **_ranked(items, key, kind), **_named(measures), "error": error}


def _ranked(items: Ranked, key: Key, kind: str) -> dict[str, Value]:
    return {"aggregation_type": kind, **dict(zip(keys_of(items), key, strict=False))}


def _named(measures: Measures) -> dict[str, Value]:
    return {name: getattr(measures, name) for name in MEASURES}


def _about(provenance: Provenance, filters: Filters, plan: Plan) -> Mapping[str, object]:
    data = provenance.data
    pieces = [{"source": one.source, "from_ms": one.span.from_ms, "to_ms": one.span.to_ms} for one in plan.pieces]
    return {
        "source": provenance.source,
        **({"pieces": pieces} if pieces else {}),
        "from_ms": provenance.span.from_ms,
        "to_ms": provenance.span.to_ms,
        "data_from_ms": data and data.from_ms,
        "data_to_ms": data and data.to_ms,
        "final_through_ms": provenance.final_through_ms,
        "filters": {name: value for name in Filters.__slots__ if (value := getattr(filters, name)) is not None},
    }


def _caption(title: str, provenance: Provenance, filters: Filters) -> str:
    chosen = [f"{name} {getattr(filters, name) or 'none'}" for name in Filters.__slots__ if getattr(filters, name) is not None]
    source = {"raw": "raw flows", "mixed": "mixed sources"}.get(provenance.source, f"{provenance.source} aggregates")
    return f"{', '.join([title, *chosen])}: {show_span(provenance.span)} (from {source})"


def _counted(items: Ranked | None, filters: Filters) -> Mapping[str, object]:
    """For programs, the same as `_several`."""
    return {"counted": "by each exporter"} if _several(items, filters) else {}


def _several(items: Ranked | None, filters: Filters) -> list[str]:
    """What is true where several exporters are added up."""
    return [] if filters.exporter or items in (Items.INTERFACES, Items.EXPORTERS) else [_EACH_EXPORTER]


def _accuracy(answer: Top) -> list[str]:
    error = max((item.error for item in answer.items), default=0)
    if not error:
        return []
    return [f"an item may have up to {show_bytes(error)} more than shown: some minutes rank only the largest"]


def _seen_ms(provenance: Provenance) -> int:
    """How long the windows with data last: what rates are taken over."""
    return provenance.data.to_ms - provenance.data.from_ms if provenance.data else 0


def _version(number: int) -> str:
    return _VERSIONS.get(ProtocolVersion(number), str(number)) if number in set(ProtocolVersion) else str(number)


def _end(address: str | None, port: int | None) -> str:
    shown = address or "(no address)"
    if port is None:
        return shown
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def _named_end(row: Mapping[str, Any], end: str) -> str:
    """An end of a flow by its name, else by its address."""
    return _end(row[f"{end}_hostname"] or row[f"{end}_label"] or row[f"{end}_addr"], row[f"{end}_port"])


def _exporter(row: Mapping[str, Any]) -> str:
    """The address, by which it is asked for, behind the node's name."""
    foreign = row["exporter_foreign_id"] and f"{_text(row['exporter_foreign_source'])}:{row['exporter_foreign_id']}"
    name = row["exporter_label"] or foreign
    return f"{name} ({row['exporter']})" if name else row["exporter"]


def _interfaces(title: str, rows: Sequence[Mapping[str, Any]], column: str) -> Shown:
    """Numbers, by which they are asked for, and their names."""
    named = [row[f"{column}_name"] or row[f"{column}_alias"] for row in rows]
    cells = [" ".join(filter(None, (_text(row[column]), name))) for row, name in zip(rows, named, strict=True)]
    return Shown(title, cells, right=not any(named))


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)
