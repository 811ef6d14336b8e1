"""What would change if other rules were in force?

In: two classifiers and stored flows, batch by batch. Out: how many flows and octets move from which application to which. Refuses
to know where the flows are stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns.classify import NOTHING_KNOWN, Classifier, Exporters
from columns.dictionaries import places


@dataclass(frozen=True, slots=True)
class Move:
    """Flows and octets (times the sampling interval) of one pair of applications; None is no application."""

    before: str | None
    after: str | None
    flows: int
    octets: int


def dry_run(
    before: Classifier, after: Classifier, batches: Iterable[pa.RecordBatch], exporters: Exporters = NOTHING_KNOWN
) -> list[Move]:
    """Sums per pair of applications, also of pairs that are equal; most octets first."""
    sums: dict[tuple[str | None, str | None], tuple[int, int]] = {}
    for flows in batches:
        for move in _moves(before.applications(flows, exporters), after.applications(flows, exporters), _octets(flows)):
            counted, octets = sums.get((move.before, move.after), (0, 0))
            sums[move.before, move.after] = (counted + move.flows, octets + move.octets)
    moves = [Move(*pair, counted, octets) for pair, (counted, octets) in sums.items()]
    return sorted(moves, key=lambda move: (-move.octets, move.before or "", move.after or ""))


def _moves(before: pa.DictionaryArray, after: pa.DictionaryArray, octets: NDArray[np.float64]) -> list[Move]:
    old, new = [*before.dictionary.to_pylist(), None], [*after.dictionary.to_pylist(), None]
    pairs = places(before).astype(np.int64) * len(new) + places(after)
    distinct, flow = np.unique(pairs, return_inverse=True)
    counted = np.bincount(flow, minlength=len(distinct))
    summed = np.bincount(flow, weights=octets, minlength=len(distinct))
    return [
        Move(old[pair // len(new)], new[pair % len(new)], int(flows), int(total))
        for pair, flows, total in zip(distinct.tolist(), counted, summed, strict=True)
    ]


def _octets(flows: pa.RecordBatch) -> NDArray[np.float64]:
    octets = _floats(flows, "bytes", 0.0)
    interval = _floats(flows, "sampling_interval", 1.0)
    return octets * np.where(np.isfinite(interval) & (interval > 0), interval, 1.0)


def _floats(flows: pa.RecordBatch, name: str, null: float) -> NDArray[np.float64]:
    if name not in flows.schema.names:
        return np.full(flows.num_rows, null)
    values: NDArray[np.float64] = pc.fill_null(flows.column(name).cast(pa.float64(), safe=False), null).to_numpy()
    return values
