"""The store's upkeep: what is too old or too much goes, small files are merged, replaced files are deleted.

In: the manifest, the limits of the configuration, the time. Out: fewer files, and an account of what was done. Refuses to delete
what a reader that has just listed it may still open: files stay on disk for a grace after they left the manifest.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Self

from common.config import Store
from common.errors import StoreError
from common.metrics import Counters
from stores.parquet.compact import LEVELS, Merge, compact, merge_files, most_worthwhile, put_merged
from stores.parquet.layout import DAY_MS, EVER, LiveFile, PendingFile
from stores.parquet.manifest import Manifest
from stores.retention import limits_of

log = logging.getLogger(__name__)
GRACE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one round did: merges made and failed, files and octets that expired, files deleted from disk."""

    merges: int
    failed_merges: int
    expired_files: int
    expired_bytes: int
    deleted: int

    def counted(self) -> Counters:
        """The same as counters."""
        counters = Counters()
        counters.add("store_merges_total", self.merges, result="made")
        counters.add("store_merges_total", self.failed_merges, result="given_up")
        counters.add("store_expired_files_total", self.expired_files)
        counters.add("store_expired_bytes_total", self.expired_bytes)
        return counters


class Maintenance:
    """Upkeep beside a running pipeline: call `step` between runs. Merges are made in a thread of their own, one at a time.

    Only `step` touches the manifest, so it is called from the thread that commits runs. A merge that fails must not stop the
    pipeline: it is logged and counted, and its files stay as they are until the next start.
    """

    def __init__(self, manifest: Manifest, limits: Store) -> None:
        self._manifest = manifest
        self._limits = limits
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._merging: tuple[Merge, Future[PendingFile]] | None = None
        self._unmergeable: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, now_ms: int) -> Upkeep:
        """Retention, the grace, and the next merge when the last one is finished; counted in the manifest. Raises StoreError."""
        expired = retire(self._manifest, self._limits, now_ms)
        merges, failed = self._take_finished(now_ms)
        if self._merging is None and (merge := most_worthwhile(self._manifest, now_ms, self._unmergeable)):
            self._merging = merge, self._pool.submit(merge_files, self._manifest.data_dir, merge)
        deleted = self._manifest.sweep(now_ms - GRACE_MS)
        return _counted(self._manifest, Upkeep(merges, failed, len(expired), sum(file.bytes for file in expired), deleted))

    def settle(self, now_ms: int) -> Upkeep:
        """As `step`, but waits for the merge that is being made."""
        if self._merging:
            wait([self._merging[1]])
        return self.step(now_ms)

    def close(self) -> None:
        """Waits for the thread; a merge that was not taken stays in pending/, where the next writer deletes it."""
        self._pool.shutdown()

    def _take_finished(self, now_ms: int) -> tuple[int, int]:
        if self._merging is None or not self._merging[1].done():
            return 0, 0
        (merge, result), self._merging = self._merging, None
        try:
            return int(put_merged(self._manifest, merge, result.result(), now_ms)), 0
        except StoreError as error:
            log.warning("merge given up: %s", error)
            self._unmergeable.update(file.name for file in merge.files)
            return 0, 1


def maintain(manifest: Manifest, limits: Store, now_ms: int, merges: int = 1) -> Upkeep:
    """One round at once: retention, at most `merges` merges, and the grace. Raises StoreError."""
    expired = retire(manifest, limits, now_ms)
    merged = compact(manifest, now_ms, merges)
    deleted = manifest.sweep(now_ms - GRACE_MS)
    return _counted(manifest, Upkeep(merged, 0, len(expired), sum(file.bytes for file in expired), deleted))


def _counted(manifest: Manifest, done: Upkeep) -> Upkeep:
    if counters := done.counted().as_map():
        manifest.count(counters)
    return done


def retire(manifest: Manifest, limits: Store, now_ms: int) -> list[LiveFile]:
    """Take what expired out of the manifest; returns it. Partials count as part of the store, but only the cascade deletes them."""
    files = {level: manifest.files(kind, level, *EVER) for kind, level in LEVELS}
    with manifest.partials() as partials:
        held = partials.bytes()
    gone = expired_files(files, limits, now_ms, held)
    if gone:
        manifest.replace([file.name for file in gone], [], 0, now_ms)
    return gone


def expired_files(files: Mapping[str, Sequence[LiveFile]], limits: Store, now_ms: int, held: int = 0) -> list[LiveFile]:
    """Files by level whose newest row is too old; then the oldest of levels that are too large; then of all, by their worth.

    `held` are octets that count, but cannot go.
    """
    gone: list[LiveFile] = []
    left: list[LiveFile] = []
    for level, limit in limits_of(limits).items():
        by_age = [file for file in files.get(level, ()) if file.max_ms <= now_ms - limit.days * DAY_MS]
        old = set(by_age)
        kept = sorted((file for file in files.get(level, ()) if file not in old), key=lambda file: (file.max_ms, file.name))
        by_size = _beyond(kept, limit.bytes) if limit.bytes else []
        gone += by_age + by_size
        left += kept[len(by_size) :]
    return gone + _beyond(left, limits.max_bytes - held)


def _beyond(files: Sequence[LiveFile], most: int) -> list[LiveFile]:
    """The first of some files, as many as have to go so that the rest is no larger than `most`."""
    excess = sum(file.bytes for file in files) - most
    gone = []
    for file in files:
        if excess <= 0:
            break
        gone.append(file)
        excess -= file.bytes
    return gone
