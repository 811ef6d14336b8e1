"""Bends times of some flows, so that every rule about intervals has something to judge.

In: canonical flows. Out: the same, with shares of them made to end in the future, to start after their end, or to come late.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.loadgen.scenario import Oddities

_MINUTE_MS = 60_000
_TIMES = ("first_switched_ms", "delta_switched_ms", "last_switched_ms")


def bend_times(flows: pa.RecordBatch, oddities: Oddities, rng: np.random.Generator) -> pa.RecordBatch:
    """At most one oddity per flow; what is neither future, reversed nor old is left alone."""
    count = flows.num_rows
    first, delta, last = (flows.column(name).to_numpy().copy() for name in _TIMES)
    dice = rng.random(count)
    future = dice < oddities.future
    turned = ~future & (dice < oddities.future + oddities.reversed)
    old = ~future & ~turned & (dice < oddities.future + oddities.reversed + oddities.old)
    _shift((last,), future, rng.integers(2, 10, count) * _MINUTE_MS)
    _shift((first, delta), future & (rng.random(count) < 0.5), rng.integers(2, 12, count) * _MINUTE_MS)
    first[turned] = delta[turned] = last[turned] + rng.integers(1, 90_000, count)[turned]
    away = -rng.integers(1, 40 * _MINUTE_MS, count)
    _shift((first, delta), old, away)
    _shift((last,), old & (rng.random(count) < 0.7), away)
    for name, times in zip(_TIMES, (first, delta, last), strict=True):
        flows = flows.set_column(flows.schema.get_field_index(name), flows.schema.field(name), pa.array(times, pa.int64()))
    return flows


def _shift(times: tuple[npt.NDArray[np.int64], ...], which: npt.NDArray[np.bool_], by: npt.NDArray[np.int64]) -> None:
    for column in times:
        column[which] += by[which]
