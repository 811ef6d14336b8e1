"""A running job taken over by a successor: other code, other settings, another parallelism, the same state.

In: the job, and what the successor is built of. Out: the successor, running, and the savepoint between the two. All that can fail
without harm comes first (the pipeline is built, its jar uploaded, slots counted); then the old job ends with a savepoint, and the
new one starts from it. What fails after that names the savepoint, so that nothing is lost.
"""

import time
from dataclasses import dataclass
from typing import Final

from flink.errors import FlinkError, RestError
from flink.rest import TERMINAL, FlinkRest, JobId
from flink.submit import FlinkOptions, PipelineBuilder, uploaded

SAVEPOINT_S: Final = 600.0
START_S: Final = 120.0
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Succession:
    """A job that took over, and the savepoint that it started from."""

    savepoint: str
    job: JobId


def succeed(job: JobId, builder: PipelineBuilder, options: FlinkOptions, folder: str | None = None) -> Succession:
    """End `job` with a savepoint below `folder` (None: where the cluster keeps them) and start the pipeline of `builder` from it.

    Returns when every subtask of the successor runs. Raises FlinkError: before the savepoint, with the old job left as it was;
    after it, with the savepoint's path.
    """
    rest = FlinkRest(options.rest_url)
    require_slots(rest, job, options)
    with uploaded(builder, options) as jar:
        savepoint = rest.savepoint(job, folder, cancel=True, timeout_s=SAVEPOINT_S)
        try:
            rest.wait_for(job)
            successor = rest.run_jar(jar, savepoint)
            wait_until_it_runs(rest, successor)
        except RestError as error:
            raise FlinkError(f"{error}; the state is in {savepoint}: nephrite flink submit ... --savepoint {savepoint}") from error
    return Succession(savepoint, successor)


def require_slots(rest: FlinkRest, job: JobId, options: FlinkOptions) -> None:
    """Raises FlinkError unless `job` runs and the cluster has slots for its successor once it is gone."""
    now = rest.job(job)
    if now.state != "RUNNING":
        raise FlinkError(f"job {job} is {now.state}, not RUNNING: a savepoint can be had of a running job only")
    if options.parallelism > options.max_parallelism:
        raise FlinkError(f"parallelism {options.parallelism} is above {options.max_parallelism}, the number of key groups")
    own = max((vertex.parallelism for vertex in rest.vertices(job)), default=0)
    slots = rest.overview().slots_available + own
    if options.parallelism > slots:
        raise FlinkError(f"parallelism {options.parallelism} needs as many slots, {slots} are there; start more TaskManagers")


def wait_until_it_runs(rest: FlinkRest, job: JobId, timeout_s: float = START_S) -> None:
    """Returns once every subtask runs; raises RestError with the reason when one does not within `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not all(vertex.tasks.get("RUNNING", 0) == vertex.parallelism for vertex in rest.vertices(job)):
        state = rest.job(job).state
        if state in TERMINAL or time.monotonic() > until:
            reason = rest.root_exception(job)[:500] or "no reason given"
            raise RestError(f"{rest.url}: job {job} is {state} and does not run after {timeout_s:.0f} s: {reason}")
        time.sleep(POLL_S)
