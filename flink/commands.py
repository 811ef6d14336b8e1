"""`nephrite flink`: a cluster on this machine, and what a job needs between its start and its end.

Beam is imported only by what starts the aggregation job: `submit`, `rescale`, `upgrade`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.config import Settings
from common.options import ConfigFile, DataDir, settings_of
from flink.cluster import Cluster, ClusterSettings
from flink.distribution import cache_folder, install
from flink.jobserver import runner_jar
from flink.rest import FlinkRest, JobId
from pipelines.commands import RangeFrom, RangeTo, range_of

if TYPE_CHECKING:
    from flink.submit import FlinkOptions, PipelineBuilder

flink_app = typer.Typer(help="Run a Flink cluster on this machine; list, stop and save jobs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of configuration, logs, pid files and checkpoints.")]
Url = Annotated[str, typer.Option("--url", metavar="URL", help="The JobManager's REST API.")]
Job = Annotated[str, typer.Argument(help="Flink's job id.")]
Where = Annotated[
    str,
    typer.Option(
        "--documents",
        metavar="WHERE",
        help="kafka://host:9092/topic, elasticsearch://host:9200 (see `nephrite setup`), or a folder that all workers see.",
    ),
]
Parallelism = Annotated[int, typer.Option(min=1, help="Subtasks, in slots of the cluster.")]
Workers = Annotated[int, typer.Option(min=1, help="Python processes per TaskManager, for more than one slot each.")]
Counted = Annotated[
    bool,
    typer.Option("--metrics", help="Show the job's counters to Prometheus, where the cluster was started with --metrics-port."),
]
Savepoints = Annotated[
    str, typer.Option(metavar="FOLDER", help="Where the savepoint goes, as the cluster sees it; by default where it keeps them.")
]
LOCAL = "http://127.0.0.1:8081"


def app_commands(app: typer.Typer) -> None:
    """Registers `flink`."""
    app.add_typer(flink_app, name="flink")


@flink_app.command()
def jar(
    retry: Annotated[bool, typer.Option("--retry", help="Ask again for the matched runner, found or not.")] = False,
) -> None:
    """Fetch or assemble the runner jar and print what it is."""
    runner = runner_jar(cache_folder(), retry=retry)
    typer.echo(f"{runner.pair}, {'assembled from libraries' if runner.pair.assembled else 'as published'}")
    typer.echo(runner.path)


@flink_app.command()
def start(
    folder: Folder,
    taskmanagers: Annotated[int, typer.Option(min=1, help="How many TaskManagers.")] = 2,
    slots: Annotated[int, typer.Option(min=1, help="Slots of each: subtasks that run at a time.")] = 1,
    memory_mb: Annotated[int, typer.Option(help="Memory of each, in MiB, without its Python workers.")] = 1536,
    rest_port: Annotated[int, typer.Option(help="Port of the REST API and web page.")] = 8081,
    rpc_port: Annotated[int, typer.Option(help="Port of the JobManager for TaskManagers.")] = 6123,
    host: Annotated[str, typer.Option(help="Address that everything listens on.")] = "127.0.0.1",
    metrics_port: Annotated[
        int | None, typer.Option(help="Metrics for Prometheus, from this port on, one for each process, on every address.")
    ] = None,
) -> None:
    """Install the Flink that fits the runner jar, and start a cluster; returns when it takes jobs."""
    runner = runner_jar(cache_folder())
    home = install(runner.pair.flink, cache_folder())
    ports = ClusterSettings(rest_port=rest_port, rpc_port=rpc_port, host=host, metrics_port=metrics_port)
    cluster = Cluster(home, folder, replace(ports, slots=slots, taskmanager_memory_mb=memory_mb))
    cluster.start(taskmanagers)
    typer.echo(f"{runner.pair} with {taskmanagers * slots} slots at {cluster.rest_url}")


@flink_app.command()
def submit(
    documents: Where,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    url: Url = LOCAL,
    parallelism: Parallelism = 2,
    workers: Workers = 1,
    metrics: Counted = False,
    savepoint: Annotated[str, typer.Option(metavar="PATH", help="Go on from this savepoint.")] = "",
    from_: RangeFrom = "",
    to: RangeTo = "",
) -> None:
    """Start the aggregation job over the configured bus and print its id; returns without waiting.

    With --from the job reads a range of the bus, closes all windows, and ends.
    """
    from flink.submit import submit as start_job

    span = range_of(from_, to) if from_ or to else None
    builder, options = _job(documents, settings_of(config, data_dir), url, parallelism, workers, metrics, span)
    typer.echo(start_job(builder, replace(options, savepoint=savepoint or None)))


@flink_app.command()
def package(
    jar: Annotated[Path, typer.Argument(metavar="FILE.jar", help="Where the jar goes.")],
    documents: Where,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    parallelism: Annotated[int, typer.Option(min=0, help="Subtasks; 0 leaves it to whoever runs the jar.")] = 0,
    workers: Workers = 1,
    metrics: Counted = False,
) -> None:
    """Write the job as a jar that any Flink can run (class FlinkPipelineRunner), on Kubernetes for example; prints its path."""
    from flink.submit import write_job_jar

    builder, options = _job(documents, settings_of(config, data_dir), LOCAL, parallelism or -1, workers, metrics)
    write_job_jar(builder, options, jar)
    typer.echo(jar)


@flink_app.command()
def rescale(
    job: Job,
    parallelism: Annotated[int, typer.Argument(min=1, help="Subtasks from now on.")],
    documents: Where,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    url: Url = LOCAL,
    workers: Workers = 1,
    metrics: Counted = False,
    savepoints: Savepoints = "",
) -> None:
    """End a job with a savepoint and go on from it with another parallelism; prints the new job's id."""
    _succeed(job, _job(documents, settings_of(config, data_dir), url, parallelism, workers, metrics), savepoints)


@flink_app.command()
def upgrade(
    job: Job,
    documents: Where,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    url: Url = LOCAL,
    parallelism: Annotated[int, typer.Option(min=0, help="Subtasks from now on; 0 leaves them.")] = 0,
    workers: Workers = 1,
    metrics: Counted = False,
    savepoints: Savepoints = "",
) -> None:
    """End a job with a savepoint and go on from it with this installation's code and settings; prints the new job's id."""
    subtasks = parallelism or max(vertex.parallelism for vertex in FlinkRest(url).vertices(JobId(job)))
    _succeed(job, _job(documents, settings_of(config, data_dir), url, subtasks, workers, metrics), savepoints)


def _job(
    documents: str, settings: Settings, url: str, parallelism: int, workers: int, metrics: bool, span: tuple[int, int] | None = None
) -> "tuple[PipelineBuilder, FlinkOptions]":
    from flink.job import Documents, job_builder
    from flink.submit import FlinkOptions, inherited_worker_env

    runner = runner_jar(cache_folder()).path
    options = FlinkOptions(
        url,
        runner,
        parallelism=parallelism,
        sdk_worker_parallelism=workers,
        disable_metrics=not metrics,
        ends=span is not None,
        worker_env=inherited_worker_env(),
    )
    return job_builder(settings, Documents(documents), span), options


def _succeed(job: str, successor: "tuple[PipelineBuilder, FlinkOptions]", savepoints: str) -> None:
    from flink.succession import succeed

    done = succeed(JobId(job), *successor, folder=savepoints or None)
    typer.echo(f"savepoint {done.savepoint}", err=True)
    typer.echo(done.job)


@flink_app.command()
def stop(folder: Folder) -> None:
    """Stop every process of the cluster in FOLDER."""
    Cluster(Path(), folder).stop()


@flink_app.command()
def jobs(url: Url = LOCAL) -> None:
    """List the jobs that the cluster remembers."""
    for job in FlinkRest(url).jobs():
        typer.echo(f"{job.id}  {job.state:<10}  {job.name}")


@flink_app.command()
def cancel(job: Job, url: Url = LOCAL) -> None:
    """End a job without a savepoint; its last checkpoint stays."""
    rest = FlinkRest(url)
    rest.cancel(JobId(job))
    typer.echo(rest.wait_for(JobId(job)).state)


@flink_app.command()
def savepoint(
    job: Job,
    target: Annotated[str, typer.Argument(help="Folder or URI, as the cluster sees it, to write below.")],
    url: Url = LOCAL,
    end: Annotated[bool, typer.Option("--cancel", help="End the job with it.")] = False,
) -> None:
    """Write a job's state where another start can take it up; prints its path."""
    typer.echo(FlinkRest(url).savepoint(JobId(job), target, cancel=end))
