"""A writer of three runs, a merge and a sweep that can be killed after any of its steps; run by test_manifest_crash.py.

Everything it does follows from what the manifest carries, so that starting it again goes on where the last commit left off.
"""

import os
from pathlib import Path

from stores.parquet.layout import PendingFile, pending_path
from stores.parquet.manifest import Commit, Manifest, WindowState

RUNS = 3
MINUTE = 60_000


def write_file(data_dir: Path, name: str, text: str, minute: int) -> PendingFile:
    pending_path(data_dir, name).write_text(text)
    return PendingFile("raw", "raw", name, 1, len(text), minute * MINUTE, (minute + 1) * MINUTE)


def commit_of(data_dir: Path, run: int) -> Commit:
    return Commit(
        positions={0: 10 * run, 1: 7 * run},
        lanes={0: b"log %d" % run},
        frontiers={0: run * MINUTE},
        appended=[(0, run * MINUTE, b"part %d" % run), (0, MINUTE, b"late %d" % run)],
        rewritten=[WindowState(0, MINUTE, 2, b"base %d" % run)] if run == 2 else [],
        closed=[(0, MINUTE)] if run == 3 else [],
        files=[write_file(data_dir, f"{run}{half}", f"rows of {run}{half}", run) for half in "ab"],
        counters={"pipeline_flows_total": run, 'pipeline_batches_dropped_total{reason="repeat"}': 1},
        final_through_ms=run * MINUTE if run > 1 else None,
    )


def write(data_dir: Path, kill_at: int) -> int:
    """Go on to the end; returns how many steps that took. The process dies after step `kill_at`."""
    steps = 0

    def step(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os._exit(9)

    with Manifest.open(data_dir, writer=True, step=step) as manifest:
        step("opened")
        for run in range(manifest.load().run + 1, RUNS + 1):
            commit = commit_of(data_dir, run)
            step("written")
            manifest.commit(commit)
        if manifest.files("raw", "raw", 0, MINUTE * 2):
            manifest.replace(["1a", "1b"], [write_file(data_dir, "1", "rows of 1", 2)], 2, now_ms=1)
        manifest.sweep(before_ms=2)
    return steps
