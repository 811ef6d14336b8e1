"""The store's upkeep: what is too old or too much goes, small files are merged, replaced files are deleted.

In: the manifest, the limits of the configuration, the time. Out: fewer files, and an account of what was done. Refuses to delete
what a reader that has just listed it may still open: files stay on disk for a grace after they left the manifest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.config import Store
from stores.parquet.compact import LEVELS, compact
from stores.parquet.layout import DAY_MS, EVER, LiveFile
from stores.parquet.manifest import Manifest

GRACE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one round did: merges made, files and octets that expired, files deleted from disk."""

    merges: int
    expired_files: int
    expired_bytes: int
    deleted: int


def maintain(manifest: Manifest, limits: Store, now_ms: int, merges: int = 1) -> Upkeep:
    """One round between two runs: retention, at most `merges` merges, and the grace. Raises StoreError."""
    expired = retire(manifest, limits, now_ms)
    merged = compact(manifest, now_ms, merges)
    deleted = manifest.sweep(now_ms - GRACE_MS)
    return Upkeep(merged, len(expired), sum(file.bytes for file in expired), deleted)


def retire(manifest: Manifest, limits: Store, now_ms: int) -> list[LiveFile]:
    """Take what expired out of the manifest; returns it."""
    files = {kind: manifest.files(kind, level, *EVER) for kind, level in LEVELS}
    gone = expired_files(files["raw"], files["aggregate"], limits, now_ms)
    if gone:
        manifest.replace([file.name for file in gone], [], 0, now_ms)
    return gone


def expired_files(raw: Sequence[LiveFile], aggregates: Sequence[LiveFile], limits: Store, now_ms: int) -> list[LiveFile]:
    """Files whose newest row is too old; and the oldest raw files, then aggregates, while the rest is larger than allowed."""
    age = {"raw": limits.raw_days, "aggregate": limits.aggregate_days}
    by_age = [file for file in (*raw, *aggregates) if file.max_ms <= now_ms - age[file.kind] * DAY_MS]
    old = set(by_age)
    left = [file for file in (*_oldest_first(raw), *_oldest_first(aggregates)) if file not in old]
    excess = sum(file.bytes for file in left) - limits.max_bytes
    by_size = []
    for file in left:
        if excess <= 0:
            break
        by_size.append(file)
        excess -= file.bytes
    return by_age + by_size


def _oldest_first(files: Sequence[LiveFile]) -> list[LiveFile]:
    return sorted(files, key=lambda file: (file.max_ms, file.name))
