"""Captures onto the bus: what `nephrite ingest FILE...` does in place of listening.

In: capture files and a producer. Out: the batches that a live collector would have made, and a line for each file. Each file is a
collector of its own, its clock that of the capture, so a file that is given twice is dropped by readers as a repeat. Readers judge
by the same clock: on a bus that is alive, captures from before its horizon are late.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bus.contract import Producer
from common.config import Settings
from ingest.decoding import name_problems
from ingest.replay import Replay

_FLUSH_S: Final = 60.0
_FLUSH_BYTES: Final = 8 << 20


def ingest_captures(paths: Sequence[Path], settings: Settings, collector: str, producer: Producer) -> Iterator[str]:
    """Put every file on the bus, in order; a line for each one that is durable there. Raises InputError and BusError."""
    for path in paths:
        run = Replay(path, settings.ingest, settings.bus.lanes, f"{collector}/{path.name}")
        unsafe = 0
        for batch in run.batches():
            producer.send(batch.lane, batch.value)
            unsafe += len(batch.value)
            if unsafe >= _FLUSH_BYTES:
                producer.flush(_FLUSH_S)
                unsafe = 0
        producer.flush(_FLUSH_S)
        if run.capture.damage:
            yield f"warning: {run.capture.damage}"
        if refused := run.counters.sum("ingest_datagrams_dropped_total"):
            yield f"warning: {path}: {refused} datagrams from networks that are not in ingest.allowed_networks"
        yield (
            f"{path}: {run.counters.sum('ingest_datagrams_total')} datagrams, {run.counters.sum('ingest_flows_total')} flows; "
            f"problems: {name_problems(run.counters)}"
        )
