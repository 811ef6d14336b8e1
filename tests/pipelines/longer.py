"""Longer windows in plain Python: the oracle's minutes added up item by item. Shares no code with the product."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ingest.loadgen.expected import Answer, Oracle
from tests.pipelines.line import canonical

Row = Mapping[str, Any]
_GROUP: Final = ("grouped_by", "location", "exporter_addr", "if_index", "dscp", "lane")
_ITEM: Final = ("application", "host_address", "conversation_key", "item")
_SUMS: Final = (
    *(f"{measure}_{side}" for measure in ("bytes", "packets", "flows") for side in ("ingress", "egress", "total")),
    *("bytes_unscaled", "packets_unscaled"),
)
_FLAGS: Final = ("congestion_encountered", "non_ect")


def every_item(entries: Iterable[bytes], start_ms: int = 0, end_ms: int = 1 << 62, repaired: bool = False) -> Answer:
    """The oracle's minutes of [start, end) with all items of every group."""
    oracle = Oracle(k=1 << 30, repaired=repaired)
    for entry in entries:
        oracle.take_entry(entry)
    answer = oracle.answer()
    return Answer([row for row in answer.documents if start_ms <= int(str(row["window_start_ms"])) < end_ms], answer.counts)


def longer_documents(minutes: Answer, window_ms: int, top_k: int = 10) -> list[dict[str, Any]]:
    """The documents of all windows of `window_ms`, in the form of tests.pipelines.line."""
    return canonical(added_up(minutes.documents, window_ms, top_k))


def added_up(minutes: Iterable[Row], window_ms: int, top_k: int) -> Iterator[dict[str, Any]]:
    """The documents of longer windows; `minutes` have all items of every group, and no sum is too large for 63 bits."""
    windows: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in minutes:
        windows[int(row["window_start_ms"]) // window_ms * window_ms, *(row.get(name) for name in _GROUP)].append(row)
    for key, rows in windows.items():
        yield from _documents(key[0], window_ms, rows, top_k)


def _documents(start_ms: int, window_ms: int, rows: list[Row], top_k: int) -> list[dict[str, Any]]:
    versions = {row["window_start_ms"]: row["rows"] for row in rows}
    common = {
        **{name: rows[0].get(name) for name in (*_GROUP, *_ITEM)},
        **dict.fromkeys(_ITEM),
        "window_start_ms": start_ms,
        "window_end_ms": start_ms + window_ms,
        "rows": sum(versions.values()),
        "error": 0,
        "floor": 0,
        "mark": None,
        "final": None,
    }
    items: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        items[tuple(row[name] for name in _ITEM)].append(row)
    if rows[0]["aggregation_type"] == "TOTAL":
        return [{**common, "aggregation_type": "TOTAL", "slot": 0, **_added(rows)}]
    ranked = sorted(items, key=lambda item: (-sum(row["bytes_total"] for row in items[item]), _order(item)))
    listed = [
        {**common, **dict(zip(_ITEM, item, strict=True)), "aggregation_type": "TOPK", "slot": slot, **_added(items[item])}
        for slot, item in enumerate(ranked[:top_k])
    ]
    if len(ranked) <= top_k:
        return listed
    whole = _added(rows)
    rest = {name: whole[name] - sum(one[name] for one in listed) for name in _SUMS}
    return [*listed, {**common, "aggregation_type": "OTHER", "slot": top_k, **whole, **rest}]


def _added(rows: list[Row]) -> dict[str, Any]:
    sums = {name: sum(row[name] for row in rows) for name in _SUMS}
    return {**sums, **{name: any(row[name] for row in rows) for name in _FLAGS}}


def _order(item: tuple[Any, ...]) -> tuple[Any, ...]:
    """Ties as numbers.md 7 breaks them."""
    import ipaddress
    import json

    def octets(address: str | None) -> bytes:
        if address is None:
            return b""
        parsed = ipaddress.ip_address(address)
        return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed

    def text(value: str | None) -> tuple[bool, bytes]:
        return (value is not None, (value or "").encode())

    application, host, conversation, value = item
    if conversation is None:
        number = int(value) if value and value.isdigit() else 0  # numbers compare as such, and no text of the tests is one
        return (text(application), octets(host), number, text(value))
    location, protocol, lower, upper, service = json.loads(conversation)
    return (text(location), -1 if protocol is None else protocol, octets(lower), octets(upper), text(service))
