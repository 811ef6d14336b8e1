"""Documents and flows spelled out, and stores made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from common.addresses import pack_address
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import BY_GROUPED_BY, LEVEL_MS, Kind, Values
from flowpb.schema import ADDRESS, FLOW_SCHEMA
from stores.parquet.manifest import Commit, Manifest
from stores.parquet.writer import write_aggregates, write_ledger, write_raw

MINUTE: Final = 60_000
T0: Final = 1_790_000_040_000
"""A whole minute: 2026-09-21T14:14:00Z."""
LATE: Final = T0 + 10 * MINUTE
A: Final = "192.0.2.1"
B: Final = "192.0.2.2"


_COLUMN: Final = {Kind.APPLICATION: "application", Kind.HOST: "host_address", Kind.CONVERSATION: "conversation_key"}


@dataclass(frozen=True, slots=True)
class Doc:
    """One aggregate document; counters are (ingress, egress, total) octets, packets are a tenth, flows 1 per 100 octets."""

    grouped_by: str
    octets: tuple[int, int, int]
    item: str | None = None
    slot: int = 0
    other: bool = False
    minute: int = 0
    exporter: str = A
    interface: int | None = None
    rows: int = 1
    error: int = 0
    floor: int = 0
    level: str = "1m"
    extra: dict[str, object] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        kind = BY_GROUPED_BY[self.grouped_by].kind
        start = T0 + self.minute * MINUTE
        sides = ("ingress", "egress", "total")
        column = "item" if isinstance(kind, Values) else _COLUMN.get(kind)
        ranked = "OTHER" if self.other else "TOPK"
        group = f"{self.grouped_by}/{self.exporter}/{self.interface}"
        return {
            "window_start_ms": start,
            "window_end_ms": start + LEVEL_MS[self.level],
            "grouped_by": self.grouped_by,
            "aggregation_type": "TOTAL" if kind is Kind.TOTAL else ranked,
            "slot": self.slot,
            "location": "Default",
            "exporter_addr": self.exporter,
            "if_index": self.interface,
            **({column: self.item} if column else {}),
            **{f"bytes_{side}": value for side, value in zip(sides, self.octets, strict=True)},
            **{f"packets_{side}": value // 10 for side, value in zip(sides, self.octets, strict=True)},
            **{f"flows_{side}": value // 100 for side, value in zip(sides, self.octets, strict=True)},
            "error": self.error,
            "floor": self.floor,
            "rows": self.rows,
            "mark": 1,
            "final": False,
            "lane": 3,
            "group_id": int.from_bytes(group.encode()[-8:], "big") % (1 << 63) ^ sum(group.encode()) << 40,
            **self.extra,
        }


def flow(start_s: int = 0, end_s: int = 0, **columns: object) -> dict[str, object]:
    """One ingress flow of A of 100 octets, from and to these seconds after T0."""
    times = {"first_switched_ms": T0 + start_s * 1000, "last_switched_ms": T0 + end_s * 1000}
    return {"exporter_addr": A, "direction": 0, "bytes": 100, "packets": 1, **times, **columns}


@dataclass(frozen=True, slots=True)
class Batch:
    """What the writer takes: a batch with the mark and frontier that it is judged by."""

    flows: pa.RecordBatch
    collector: str = "collector"
    epoch: int = 7
    lane: int = 3
    seq: int = 1
    mark_ms: int = LATE
    frontier_ms: int = LATE
    numbers: NDArray[np.int64] | None = None


def batch_of(rows: Sequence[dict[str, object]], seq: int = 1, mark_ms: int = LATE, frontier_ms: int = LATE) -> Batch:
    """Flows as dictionaries, addresses as text; columns that no row has are left out."""
    names = [name for name in FLOW_SCHEMA.names if any(name in row for row in rows)]
    arrays = []
    for name in names:
        kind = FLOW_SCHEMA.field(name).type
        values = [row.get(name) for row in rows]
        if kind == ADDRESS:
            packed = [pack_address(value) if isinstance(value, str) else None for value in values]
            arrays.append(pa.array(packed, pa.binary(16)).dictionary_encode())
        elif pa.types.is_dictionary(kind):
            arrays.append(pa.array(values, kind.value_type).dictionary_encode())
        else:
            arrays.append(pa.array(values, kind))
    return Batch(pa.RecordBatch.from_arrays(arrays, names), seq=seq, mark_ms=mark_ms, frontier_ms=frontier_ms)


def table_of(documents: Sequence[Doc]) -> pa.Table:
    """Documents in AGGREGATE_SCHEMA."""
    return pa.Table.from_pylist([document.row() for document in documents], schema=AGGREGATE_SCHEMA)


def by_level(documents: Sequence[Doc]) -> dict[str, list[Doc]]:
    """Documents of each level."""
    levels: dict[str, list[Doc]] = {}
    for document in documents:
        levels.setdefault(document.level, []).append(document)
    return levels


def fill(
    data_dir: Path, documents: Sequence[Sequence[Doc]] = (), batches: Sequence[Batch] = (), ledger: Sequence[pa.Table] = ()
) -> Path:
    """A store with one run per list of documents, per batch and per table of the ledger."""
    with Manifest.open(data_dir, writer=True) as manifest:
        for run in documents:
            files = [
                file
                for level, of_level in by_level(run).items()
                for file in write_aggregates(manifest.pending_dir, table_of(of_level), level)
            ]
            manifest.commit(Commit(files=files))
        for batch in batches:
            manifest.commit(Commit(files=write_raw(manifest.pending_dir, [batch])))
        for rows in ledger:
            manifest.commit(Commit(files=write_ledger(manifest.pending_dir, rows)))
    return data_dir
