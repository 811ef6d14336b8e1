"""Whether a long run wrote what it was given: flows and octets of exporters' totals against those that were sent.

In: files of documents as they come, or the Parquet files of a data folder. Out: how many documents there were, and the sums of the
newest total of each exporter and window. Files of documents are deleted once counted, so that an hour of them need not be kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.cases import Entries
from flowpb.codec import decode
from flowpb.documents import LEVEL_MINUTE
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest

_TOTAL: Final = b'"grouped_by":"EXPORTER","aggregation_type":"TOTAL"'
_COLUMNS: Final = ("window_start_ms", "exporter_addr", "location", "rows", "flows_total", "bytes_total")
_RAW: Final = "raw"


@dataclass(slots=True)
class Sums:
    """Flows and their octets."""

    flows: int = 0
    octets: int = 0

    def add(self, more: "Sums") -> None:
        """Adds others to these."""
        self.flows += more.flows
        self.octets += more.octets


@dataclass(slots=True)
class Written:
    """Documents so far, and the newest (rows, flows, octets) of each exporter's total."""

    documents: int = 0
    totals: dict[tuple[object, ...], tuple[int, int, int]] = field(default_factory=dict)

    @property
    def sums(self) -> Sums:
        """Over all exporters and windows."""
        return Sums(sum(flows for _, flows, _ in self.totals.values()), sum(octets for _, _, octets in self.totals.values()))

    def take_files(self, folder: Path) -> None:
        """Counts and deletes the files that are there now."""
        for file in folder.glob("*.ndjson"):
            self.take_lines(file.read_bytes().splitlines())
            file.unlink()

    def take_lines(self, lines: Iterable[bytes]) -> None:
        """JSON documents."""
        for line in lines:
            self.documents += 1
            if _TOTAL in line:
                total = orjson.loads(line)
                self._take((total["_id"],), total["rows"], total["flows_total"], total["bytes_total"])

    def take_store(self, data_dir: Path) -> int:
        """The minutes in a data folder; returns how many raw flows are beside them."""
        with Manifest.open(data_dir, writer=False) as manifest:
            for file in manifest.files("aggregate", LEVEL_MINUTE, 0, 1 << 62):
                path = find_file(data_dir, file)
                if path is not None:
                    self._take_parquet(path)
                    self.documents += file.rows
            return sum(level.rows for level in manifest.status().levels if level.level == _RAW)

    def _take_parquet(self, path: Path) -> None:
        table = pq.read_table(path, columns=["grouped_by", "aggregation_type", *_COLUMNS])
        chosen = pc.and_(pc.equal(table["grouped_by"], "EXPORTER"), pc.equal(table["aggregation_type"], "TOTAL"))
        for window, exporter, location, rows, flows, octets in zip(
            *(column.to_pylist() for column in table.filter(chosen).select(_COLUMNS).columns), strict=True
        ):
            self._take((window, exporter, location), rows, flows, octets)

    def _take(self, key: tuple[object, ...], rows: int, flows: int, octets: int) -> None:
        if rows >= self.totals.get(key, (0,))[0]:
            self.totals[key] = rows, flows, octets


def sums_of(entries: Entries) -> Sums:
    """What entries of unsampled traffic bring."""
    sums = Sums()
    for _, value in entries:
        flows = decode(value)[1]
        sums.flows += flows.num_rows
        sums.octets += pc.sum(flows.column("bytes")).as_py() if flows.num_rows else 0
    return sums
