"""Hours and days beside a running embedded pipeline: made in a thread of their own, kept between two runs.

In: the manifest of the pipeline. Out: longer windows, one at a time. Refuses to be used from other threads than the one
that commits runs: the thread that it starts reads through a connection of its own, and writes nothing.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Final, Self

from common.clock import wall_clock
from common.errors import InputError, StoreError
from common.metrics import Counters
from pipelines.rollup import Due, Made, Rules, forget, make, next_due, put
from stores.parquet.cascade import ParquetCascade
from stores.parquet.manifest import Manifest

log = logging.getLogger(__name__)
_LOOK_MS: Final = 60_000


class Rolling:
    """Call `step` between runs. A window that cannot be made is logged, counted and left alone until the next start."""

    def __init__(self, manifest: Manifest, rules: Rules) -> None:
        self._manifest, self._rules = manifest, rules
        self._cascade = ParquetCascade(manifest)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rollup")
        self._making: tuple[Due, Future[Made]] | None = None
        self._given_up: set[tuple[str, int]] = set()
        self._look_ms = 0
        self._stopped = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown()

    def step(self) -> Due | None:
        """Keeps what is finished and starts what is due; returns what was kept. Raises StoreError where it cannot be kept."""
        counters = Counters()
        kept = self._take_finished(counters)
        if self._making is None and (kept or wall_clock() >= self._look_ms):
            self._look_ms = wall_clock() + _LOOK_MS
            self._start(counters)
        if counted := counters.as_map():
            self._manifest.count(counted)
        return kept

    def settle(self) -> Due | None:
        """As `step`, but waits for the window that is being made."""
        if self._making:
            wait([self._making[1]])
        return self.step()

    def _start(self, counters: Counters) -> None:
        due = next_due(self._cascade, self._given_up)
        if due:
            self._making = due, self._pool.submit(_make, self._manifest.data_dir, due, self._rules, self._stopped)
        else:
            counters.add("rollup_forgotten_total", forget(self._cascade))

    def _take_finished(self, counters: Counters) -> Due | None:
        if self._making is None or not self._making[1].done():
            return None
        (due, result), self._making = self._making, None
        try:
            made = result.result()
        except (StoreError, InputError) as error:
            log.warning("%s of %d not made: %s", due.level, due.window_start_ms, error)
            self._given_up.add((due.level, due.window_start_ms))
            self._look_ms = 0
            counters.add("rollup_windows_total", level=due.level, result="given_up")
            return None
        put(self._cascade, made, self._rules)
        counters.add("rollup_windows_total", level=due.level, result="made")
        return due


def _make(data_dir: Path, due: Due, rules: Rules, stopped: Event) -> Made:
    with Manifest.open(data_dir, writer=False) as manifest:
        return make(ParquetCascade(manifest), due, rules, stopped)
