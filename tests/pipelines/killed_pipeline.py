"""A pipeline over a scenario, in small runs, meant to be killed: FOLDER SEED. Says when it begins."""

import sys
from pathlib import Path

from stores.parquet.manifest import Manifest
from tests.pipelines.line import driver_of, entries_of, fill


def main(folder: Path, seed: int) -> None:
    """Drains the scenario's entries into the manifest of `folder`, in runs of about 20 entries."""
    log = fill(entries_of("small", seed))
    with Manifest.open(folder, writer=True) as manifest:
        driver = driver_of(log, manifest, run_bytes=1)
        print("begins", flush=True)  # noqa: T201
        driver.drain()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
