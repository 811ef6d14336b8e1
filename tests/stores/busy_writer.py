"""A writer that commits runs, merges everything and deletes at once what it replaced; run by test_parquet_concurrent.py."""

import sys
from pathlib import Path

from stores.parquet.compact import Merge, merge_files
from stores.parquet.manifest import Commit, Manifest
from stores.parquet.writer import write_aggregates, write_raw
from tests.stores.literals import MINUTE, T0, A, Doc, batch_of, table_of

RUNS = 40


def documents(run: int) -> list[Doc]:
    """The totals of minute 0 as of this run, and one more minute; per minute all octets are of one application."""
    return [
        Doc("EXPORTER", (100 * run, 0, 100 * run), rows=run),
        Doc("EXPORTER_APPLICATION", (100 * run, 0, 100 * run), "dns", rows=run),
        Doc("EXPORTER", (1, 0, 1), minute=run % 15),
        Doc("EXPORTER_APPLICATION", (1, 0, 1), "ssh", minute=run % 15),
    ][: 4 if run % 15 else 2]


def write(data_dir: Path) -> None:
    with Manifest.open(data_dir, writer=True) as manifest:
        for run in range(1, RUNS + 1):
            flow: dict[str, object] = {"exporter_addr": A, "bytes": 7, "first_switched_ms": T0, "last_switched_ms": T0 + MINUTE}
            files = write_raw(manifest.pending_dir, [batch_of([flow], seq=run)])
            manifest.commit(Commit(files=[*files, *write_aggregates(manifest.pending_dir, table_of(documents(run)))]))
            if run % 4 == 0:
                merge(manifest, run)


def merge(manifest: Manifest, run: int) -> None:
    for kind, level in (("raw", "raw"), ("aggregate", "1m")):
        found = manifest.files("raw" if kind == "raw" else "aggregate", level, 0, 1 << 60)
        merged = merge_files(manifest.data_dir, Merge(tuple(found), 2))
        manifest.replace([file.name for file in found], [merged], 2, now_ms=run)
    manifest.sweep(before_ms=run + 1)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
