"""The embedded store's part in the cascade: stores.cascade.Cascade over the manifest.

In: partials and documents of longer windows. Out: what to make them of. Works in the process that has the manifest for writing.
"""

from dataclasses import dataclass

import pyarrow as pa

from stores.cascade import Kept
from stores.parquet.manifest import Manifest
from stores.parquet.writer import write_aggregates


@dataclass(frozen=True, slots=True)
class ParquetCascade:
    """Over a manifest that is open for writing. Not thread-safe."""

    manifest: Manifest

    def final_through(self) -> int | None:
        """As the pipeline committed it with its partials."""
        return self.manifest.final_through()

    def kept(self, level: str) -> list[Kept]:
        """The partials of a level, by window and lane."""
        with self.manifest.partials() as partials:
            return partials.kept(level)

    def states(self, level: str, from_ms: int, to_ms: int, lane: int) -> list[bytes]:
        """States of a lane's partials whose windows start in [from_ms, to_ms), in their order."""
        with self.manifest.partials() as partials:
            return partials.states(level, from_ms, to_ms, lane)

    def put(self, level: str, window_start_ms: int, partials: pa.Table, documents: pa.Table) -> None:
        """In one transaction; readers take the documents with the most rows of each group."""
        files = write_aggregates(self.manifest.pending_dir, documents, level)
        self.manifest.put_rollup(partials, files)

    def forget(self, level: str, before_ms: int) -> int:
        """Delete the partials of windows that start before `before_ms`; returns how many."""
        return self.manifest.forget_partials(level, before_ms)
