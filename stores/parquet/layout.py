"""Where the embedded store keeps what, and what it knows of a file without opening it.

In: a data folder. Out: paths, and the descriptions of files that the manifest keeps. Refuses to know SQL and Parquet, so that
whoever only needs the manifest does not load them.

    data_dir/manifest.sqlite                       the only list of files that counts
    data_dir/pending/NAME                          written whole, perhaps not committed
    data_dir/{raw,ledger,agg-1m,agg-1h,agg-1d}/YYYY-MM-DD/NAME   committed
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from flowpb.groupings import LEVEL_MS
from flowpb.ledger import LEVEL_LEDGER

Kind = Literal["raw", "aggregate", "ledger"]
RAW_LEVEL: Final = "raw"
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
EVER: Final = (-(2**63), 2**63 - 1)
"""The range of everything."""
_FOLDERS: Final = {RAW_LEVEL: "raw", LEVEL_LEDGER: "ledger", **{level: f"agg-{level}" for level in LEVEL_MS}}
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, beyond which there are no dates; garbage in a flow's times must not stop the store."""


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A complete file in pending/. Its rows lie in [min_ms, max_ms): ends of flows and starts of windows inclusive."""

    kind: Kind
    level: str
    name: str
    rows: int
    bytes: int
    min_ms: int
    max_ms: int


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A committed file. `stage` says how far it is merged: 0 as a run wrote it, 1 some runs, 2 an hour, 3 a day."""

    kind: Kind
    level: str
    name: str
    rows: int
    bytes: int
    min_ms: int
    max_ms: int
    stage: int


def manifest_path(data_dir: Path) -> Path:
    """The manifest of a data folder."""
    return data_dir / "manifest.sqlite"


def pending_path(data_dir: Path, name: str = "") -> Path:
    """A file that is perhaps not committed yet, or the folder of all of them."""
    return data_dir / "pending" / name


def placed_path(data_dir: Path, level: str, name: str, max_ms: int) -> Path:
    """The last place of a committed file: a folder per level and UTC day of the file's newest row."""
    day = datetime.fromtimestamp(min(max(max_ms - 1, 0), _LAST_MS) // 1000, UTC)
    return data_dir / _FOLDERS[level] / day.strftime("%Y-%m-%d") / name


def find_file(data_dir: Path, file: LiveFile) -> Path | None:
    """Where a committed file is now: in its last place, or still in pending/; None once it was deleted."""
    for path in (
        placed_path(data_dir, file.level, file.name, file.max_ms),
        pending_path(data_dir, file.name),
        placed_path(data_dir, file.level, file.name, file.max_ms),
    ):
        if path.exists():
            return path
    return None


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
