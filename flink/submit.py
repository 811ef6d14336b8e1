"""Submission of a Beam pipeline to a Flink cluster, as a self-contained jar over REST.

In: a function that builds the pipeline, and where and how to run it. Out: Flink's job id; nothing is waited for.
Beam's own client does the same for the start of a job, but cannot start it from a savepoint and loses the job's id, so
the jar is written here (the layout is Beam's PortablePipelineJarUtils) and run through `flink.rest`.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from google.protobuf import json_format

from flink.rest import FlinkRest, JarId, JobId
from flink.subtasks import MAX_PARALLELISM

PipelineBuilder = Callable[[beam.Pipeline], None]

WORKER_COMMAND = Path(__file__).with_name("worker.sh")
_JOB = "BEAM-PIPELINE/pipeline"


@dataclass(frozen=True, slots=True)
class FlinkOptions:
    """Where and how a job runs. Durations in milliseconds.

    A bundle's time is also the shortest cycle of a source and the grain of the watermark; longer bundles make fewer
    and larger elements. Metrics of the job are off by default: Flink keeps every one as an accumulator.

    `sdk_worker_parallelism` is the number of Python processes per TaskManager. The runner deals a TaskManager's stages
    out to them in the order in which they happen to open, so with two slots and two processes both subtasks of the
    busiest stage share one process in a third of the starts (seen). What always gives each subtask a process of its
    own is one slot per TaskManager and one process, the defaults here and of `nephrite flink start`.

    A job that `ends` reads ranges; without this word the runner keeps the source of its elements, and so the job, for ever.
    """

    rest_url: str
    runner_jar: Path
    job_name: str = "nephrite"
    parallelism: int = 2
    sdk_worker_parallelism: int = 1
    max_parallelism: int = MAX_PARALLELISM
    checkpointing_interval_ms: int = 30_000
    checkpoint_timeout_ms: int = 600_000
    max_bundle_time_ms: int = 500
    max_bundle_size: int = 1_000
    disable_metrics: bool = True
    tolerate_failed_checkpoints: bool = True
    retain_checkpoints_on_cancel: bool = True
    savepoint: str | None = None
    ends: bool = False
    worker_command: Path = WORKER_COMMAND
    worker_env: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()


def inherited_worker_env() -> dict[str, str]:
    """Worker environment for workers on this machine: this interpreter, and what this process can import."""
    own = (sys.prefix, sys.base_prefix)  # what the interpreter finds by itself
    paths = [entry for entry in sys.path if not entry.startswith(own) and Path(entry).is_dir()]
    return {"NEPHRITE_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(paths)}


def pipeline_flags(options: FlinkOptions) -> list[str]:
    """`options` as flags of Beam's Python and Java sides; the latter pass through Python unread."""
    environment = {"command": str(options.worker_command), "env": dict(options.worker_env)}
    return [
        "--streaming",
        "--flink_submit_uber_jar",
        "--flink_master=[auto]",  # in the jar: the cluster that the jar is run on
        f"--job_name={options.job_name}",
        "--environment_type=PROCESS",
        f"--environment_config={json.dumps(environment)}",
        f"--parallelism={options.parallelism}",
        f"--sdk_worker_parallelism={options.sdk_worker_parallelism}",
        f"--max_parallelism={options.max_parallelism}",
        f"--checkpointing_interval={options.checkpointing_interval_ms}",
        f"--checkpoint_timeout_millis={options.checkpoint_timeout_ms}",
        f"--fail_on_checkpointing_errors={_word(not options.tolerate_failed_checkpoints)}",
        f"--externalized_checkpoints_enabled={_word(options.retain_checkpoints_on_cancel)}",
        f"--retain_externalized_checkpoints_on_cancellation={_word(options.retain_checkpoints_on_cancel)}",
        f"--max_bundle_time_mills={options.max_bundle_time_ms}",  # sic
        f"--max_bundle_size={options.max_bundle_size}",
        "--faster_copy",
        # Flink names the source of elements, which has no name of its own in the runner, by what it is chained to; that depends on
        # parallelism, and a savepoint would not fit another one. Nothing is lost: between stages go tens of elements a second.
        "--operator_chaining=false",
        # else what a stage had put out when a savepoint was taken lies in it under numbers of its outputs, and came out at another
        # one in a job that was built anew: parts of ledgers at lane state (seen after a resume)
        "--finish_bundle_before_checkpointing=true",
        *(["--shutdown_sources_after_idle_ms=0"] if options.ends else []),
        *(["--disable_metrics"] if options.disable_metrics else []),
        # workers have the code installed, so nothing of this process is shipped to them
        "--no_save_main_session",
        "--experiments=disable_logging_submission_environment",
        *options.extra,
    ]


def write_job_jar(builder: PipelineBuilder, options: FlinkOptions, jar: Path) -> None:
    """Write a jar that runs the pipeline on the cluster it is uploaded to."""
    with _without_warnings_of_flags():
        pipeline = beam.Pipeline(runner=_JarWriter(options.runner_jar, jar), options=PipelineOptions(pipeline_flags(options)))
        builder(pipeline)
        pipeline.run()


@contextmanager
def uploaded(builder: PipelineBuilder, options: FlinkOptions) -> Iterator[JarId]:
    """The job's jar on the cluster, for as long as it takes to run it; raises RestError when the cluster does not take it."""
    rest = FlinkRest(options.rest_url)
    with tempfile.TemporaryDirectory(prefix="nephrite-job-") as scratch:
        path = Path(scratch, f"{options.job_name}.jar")
        write_job_jar(builder, options, path)
        jar = rest.upload_jar(path)
    try:
        yield jar
    finally:
        rest.delete_jar(jar)


def submit(builder: PipelineBuilder, options: FlinkOptions) -> JobId:
    """Start the pipeline that `builder` builds, from `options.savepoint` if there is one; returns without waiting.

    `builder` and everything it refers to must be importable by the workers: nothing may live in `__main__`.
    Raises RestError when the cluster does not take the job.
    """
    with uploaded(builder, options) as jar:
        return FlinkRest(options.rest_url).run_jar(jar, options.savepoint)


@contextmanager
def _without_warnings_of_flags() -> Iterator[None]:
    """Python's side of Beam warns of every flag that is for Java's side: it passes them on all the same."""
    told = logging.getLogger("apache_beam.options.pipeline_options")
    told.addFilter(_is_no_flag)
    try:
        yield
    finally:
        told.removeFilter(_is_no_flag)


def _is_no_flag(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Unparseable argument", "Discarding unparseable"))


class _JarWriter(FlinkRunner):
    """A Flink runner that writes the job's jar where Beam's would hand it to a job server."""

    def __init__(self, runner_jar: Path, jar: Path) -> None:
        super().__init__()
        self._runner_jar = runner_jar
        self._jar = jar

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> None:
        for environment in pipeline.components.environments.values():
            del environment.dependencies[:]
        flags = JobServiceHandle.encode_pipeline_options(options.get_all_options(retain_unknown_options=True))
        shutil.copyfile(self._runner_jar, self._jar)
        with zipfile.ZipFile(self._jar, "a", zipfile.ZIP_DEFLATED) as jar:
            jar.writestr(f"{_JOB}/pipeline.json", json_format.MessageToJson(pipeline))
            jar.writestr(f"{_JOB}/pipeline-options.json", json_format.MessageToJson(flags))
            jar.writestr("BEAM-PIPELINE/pipeline-manifest.json", json.dumps({"defaultJobName": "pipeline"}))


def _word(flag: bool) -> str:
    return "true" if flag else "false"
