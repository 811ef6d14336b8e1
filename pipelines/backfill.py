"""A back-fill in the embedded form: a time range of the bus into a data folder of its own.

In: settings and the range, by the bus's clock. Out: the number of flows; all windows are closed. Refuses a folder that has read
something already: its lanes know batches and frontiers, by which most of the range would be repeats or too late.
"""

from pathlib import Path

from common.config import Settings
from common.errors import UsageError
from pipelines.embedded import open_embedded, open_reading
from pipelines.ranges import RangeSource, bounds_of
from stores.parquet.layout import manifest_path
from stores.parquet.manifest import Manifest


def back_fill(settings: Settings, from_ms: int, to_ms: int) -> int:
    """Reads the range whole; raises BusError, StoreError, ConfigError, UsageError."""
    data_dir = Path(settings.data_dir)
    if manifest_path(data_dir).exists():
        with Manifest.open(data_dir, writer=False) as manifest:
            if manifest.status().run:
                raise UsageError(f"{data_dir}: a pipeline has worked in this folder already; give another one with --data-dir")
    source = open_reading(settings)
    try:
        reading = RangeSource(source, bounds_of(source, from_ms, to_ms))
        with open_embedded(settings, reading) as embedded:
            flows = embedded.driver.drain()
            embedded.driver.finish()
        return flows
    finally:
        source.close()
