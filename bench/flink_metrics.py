"""What Flink's metrics of a job cost: the same traffic with and without, in turn, as CPU per flow and ratio.

`python -m bench.flink_metrics [ROUNDS]`. In: nothing. Out: a line for each run, and the ratio of the least of each kind; CPU time
of worker, TaskManager and JobManager without their start.
"""

import sys
from dataclasses import replace
from typing import Final

from bench import on_flink
from bench.cases import CASES, seconds_of
from common.config import Pipeline, Settings
from flink.submit import FlinkOptions

RATE: Final = 50_000
_SECONDS: Final = 20
_GENERATED_S: Final = 5


def measured(counted: bool) -> float:
    """Microseconds of CPU per flow, with the metrics of the job or without."""

    def change(options: FlinkOptions) -> FlinkOptions:
        return replace(options, disable_metrics=not counted)

    return on_flink.run(seconds_of(CASES[0], RATE, _SECONDS, _GENERATED_S), Settings(pipeline=Pipeline()), change).us_per_flow


def main(rounds: int) -> None:
    """Both kinds in turn."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        for counted in (False, True) if number % 2 == 0 else (True, False):
            found[counted].append(measured(counted))
            sys.stdout.write(f"{'with' if counted else 'without'} metrics: {found[counted][-1]:.2f} us\n")
            sys.stdout.flush()
    sys.stdout.write(f"with / without, least of {rounds}: {min(found[True]) / min(found[False]):.2f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
