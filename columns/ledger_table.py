"""Rows of the ledger to the table that stores keep: estimates, texts, ids and JSON.

In: merged rows of one lane, also older ones for the means. Out: a table of LEDGER, ids under which stores keep its rows, and JSON
documents. Refuses to know which rows are due and what a store does with them.

Sequence gaps are taken in flows as the collector estimates them, by the sequence's own mean or the numbers of sFlow samples. Where
it does not, they become flows by the exporter's mean over all rows at hand (about a quarter of an hour):
    per unit       = (flows decoded - units that count flows) / all other units received
    per datagram   = flows decoded / datagrams that were no repeats
    flows lost     = the gaps in flows, else gaps that count flows + other gaps x per unit; less what this collector dropped itself
    flows dropped  = socket drops x per datagram, at most the gaps where there are sequence numbers
    undecodable    = sets given up and malformed x per datagram (at least 1), and samples; of IPFIX the records, which it counts
    lost on bus    = missing batches x the lane's mean flows per batch
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from columns.arrays import Floats, Ints, Mask
from columns.late import Origin
from columns.ledger_rows import NOBODY, Rows, unpack_offsets
from common.addresses import format_address, pack_address
from flowpb.groupings import WINDOW_MS
from flowpb.ledger import LASTS, LEDGER, LEDGER_SCHEMA, SUMS, UNITS

_MALFORMED: Final = ("problem_length_mismatch", "problem_set_length", "problem_truncated_header")
_SINGLE: Final = ("problem_record_truncated", "problem_sample_malformed")
_ID: Final = np.dtype([("lane", ">u2"), ("minute", ">u4"), ("booked", ">u4"), ("high", ">u8"), ("low", ">u8"), ("end", "u1")])
_ID_LENGTH: Final = 36
"""The 27 octets of an id are nine times three: as base64 they need no padding."""
_REPAIR: Final = 2
"""`end` of the ids of a repair's rows."""


def table_of(rows: Rows, chosen: Mask, lane: int) -> pa.Table:
    """The chosen rows in LEDGER_SCHEMA."""
    estimates = {name: column[chosen] for name, column in _estimates(rows).items()}
    rows = rows.take(chosen)
    columns = {
        "minute_ms": rows.minute * WINDOW_MS,
        "booked_ms": rows.booked * WINDOW_MS,
        "lane": np.full(len(rows), lane, np.int64),
        "repaired_ms": pa.nulls(len(rows), pa.int64()),
        "exporter_addr": pa.array(_texts(rows), pa.string()),
        **{name: rows[name] for name in (*SUMS, *LASTS, "since_ms", "until_ms")},
        "clock_offset_ms": unpack_offsets(rows["clock_offset_ms"]),
        **estimates,
    }
    return pa.table([columns[name] for name in LEDGER_SCHEMA.names], schema=LEDGER_SCHEMA)


def rows_of_repair(lane: int, window_start_ms: int, origins: Mapping[Origin, int]) -> pa.Table:
    """What a repaired window changes in the ledger: where its late flows were counted, that many are late no more.

    A later repair of the window has found no fewer, and its rows replace these.
    """
    rows = [
        {
            **dict.fromkeys(LEDGER_SCHEMA.names, 0),
            "minute_ms": minute_ms,
            "booked_ms": minute_ms,
            "lane": lane,
            "repaired_ms": window_start_ms,
            "exporter_addr": format_address(exporter or bytes(16)),
            "version": flows,
            "flows_late": -flows,
            "flows_repaired": flows,
        }
        for (minute_ms, exporter), flows in sorted(origins.items(), key=lambda each: (each[0][0], each[0][1] or b""))
    ]
    return pa.Table.from_pylist(rows, LEDGER_SCHEMA)


def ledger_ids(table: pa.Table) -> list[str]:
    """Ids of all rows: base64url of lane, minute, booked minute (a repair's rows: the window) and address; nobody is all ones."""
    ids = np.zeros(table.num_rows, _ID)
    booked = pc.coalesce(table.column("repaired_ms"), table.column("booked_ms"))
    for name, column, divisor in (
        ("lane", table.column("lane"), 1),
        ("minute", table.column("minute_ms"), WINDOW_MS),
        ("booked", booked, WINDOW_MS),
    ):
        ids[name] = column.to_numpy() // divisor
    ids["end"] = np.where(table.column("repaired_ms").is_valid().to_numpy(), _REPAIR, 0)
    addresses = [NOBODY if text is None else _halves(text) for text in table.column("exporter_addr").to_pylist()]
    ids["high"], ids["low"] = np.array(addresses, np.uint64).reshape(-1, 2).T
    text = base64.urlsafe_b64encode(ids.tobytes()).decode()
    return [text[at : at + _ID_LENGTH] for at in range(0, len(text), _ID_LENGTH)]


def ledger_json(table: pa.Table) -> list[bytes]:
    """The rows as JSON objects, without the fields that are 0 or null."""
    paths = {field.name: field.json.split(".") for field in LEDGER}
    return [orjson.dumps(_document(row, paths)) for row in table.to_pylist()]


def _document(row: dict[str, object], paths: Mapping[str, Sequence[str]]) -> dict[str, object]:
    document: dict[str, object] = {"@timestamp": row["minute_ms"]}
    for name, value in row.items():
        if value is None or (value == 0 and name not in ("minute_ms", "booked_ms", "lane")):
            continue
        *heads, last = paths[name]
        below = document
        for head in heads:
            below = below.setdefault(head, {})  # type: ignore[assignment]
        below[last] = value
    return document


def _estimates(rows: Rows) -> dict[str, Ints]:
    """Flows lost, per row, by the means of its exporter over all rows."""
    total = _Means(rows)
    units = [unit for unit in UNITS if unit != "flows"]
    by_mean = (
        rows["missing_flows"] + sum((rows[f"missing_{unit}"] for unit in units), np.zeros(len(rows), np.int64)) * total.per_unit
    )
    gaps = np.where(rows["missing_in_flows"] > 0, rows["missing_in_flows"], by_mean)
    dropped = rows["socket_drops"] * total.per_datagram
    here = np.where(total.is_numbered, np.minimum(gaps, dropped), dropped)
    sets = (rows["expired_sets"] + _sum(rows, _MALFORMED)) * np.maximum(total.per_datagram, 1)
    undecodable = np.where(total.counts_records, rows["undecoded_records"], sets + _sum(rows, _SINGLE))
    return {
        "flows_lost": _whole(np.maximum(gaps - here, 0)),
        "flows_dropped": _whole(here),
        "flows_undecodable": _whole(undecodable),
        "flows_lost_on_bus": _whole(rows["batches_missing"].astype(np.float64) * total.per_batch),
    }


class _Means:
    """Means of each row's exporter over all of its rows; of the lane's flows per batch."""

    def __init__(self, rows: Rows) -> None:
        self._code = np.unique(rows.exporter, axis=0, return_inverse=True)[1].reshape(-1)
        received = {unit: self._total(rows[f"received_{unit}"]) for unit in UNITS}
        flows, others = received["flows"], sum(received.values()) - received["flows"]
        decoded = self._total(rows["flows_decoded"])
        self.per_unit = _ratio(np.maximum(decoded - flows, 0), others)
        self.per_datagram = _ratio(decoded, self._total(rows["datagrams"]) - self._total(rows["duplicates"]))
        self.is_numbered = flows + others > 0
        self.counts_records = received["records"] > 0
        self.per_batch = float(rows["flows_received"].sum()) / max(float(rows["batches"].sum()), 1.0)

    def _total(self, column: Ints) -> Floats:
        totals: Floats = np.bincount(self._code, column.astype(np.float64)).astype(np.float64)
        return totals[self._code]


def _sum(rows: Rows, names: Sequence[str]) -> Ints:
    return sum((rows[name] for name in names), np.zeros(len(rows), np.int64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio


def _whole(flows: Ints | Floats) -> Ints:
    return np.minimum(np.rint(flows.astype(np.float64)), 2.0**62).astype(np.int64)


def _texts(rows: Rows) -> list[str | None]:
    return [None if tuple(pair) == NOBODY else _text(*pair) for pair in rows.exporter.tolist()]


def _text(high: int, low: int) -> str:
    return format_address(high.to_bytes(8, "big") + low.to_bytes(8, "big"))


def _halves(text: str) -> tuple[int, int]:
    packed = pack_address(text)
    return int.from_bytes(packed[:8], "big"), int.from_bytes(packed[8:], "big")
