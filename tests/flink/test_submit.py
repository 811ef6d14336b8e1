"""The job's jar and the worker's boot, as far as they go without a cluster."""

import json
import zipfile
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from flink.boot import arguments, worker_environment
from flink.submit import WORKER_COMMAND, FlinkOptions, pipeline_flags, write_job_jar
from tests.flink import lane_job
from tests.flink.lane_job import Topic


def builder(pipeline: beam.Pipeline) -> None:
    _ = pipeline | beam.Create([(b"a", b"b")], reshuffle=False) | beam.GroupByKey()


@pytest.fixture
def options(tmp_path: Path) -> FlinkOptions:
    with zipfile.ZipFile(tmp_path / "runner.jar", "w") as jar:
        jar.writestr("Runner.class", b"\xca\xfe")
    return FlinkOptions("http://127.0.0.1:1", tmp_path / "runner.jar", parallelism=3, worker_env={"A": "b c"})


def test_the_jar_holds_runner_pipeline_and_options(options: FlinkOptions, tmp_path: Path) -> None:
    write_job_jar(builder, options, tmp_path / "job.jar")
    with zipfile.ZipFile(tmp_path / "job.jar") as jar:
        assert jar.read("Runner.class") == b"\xca\xfe"
        pipeline = json.loads(jar.read("BEAM-PIPELINE/pipeline/pipeline.json"))
        flags = json.loads(jar.read("BEAM-PIPELINE/pipeline/pipeline-options.json"))
        manifest = json.loads(jar.read("BEAM-PIPELINE/pipeline-manifest.json"))
    assert manifest == {"defaultJobName": "pipeline"}
    processes = [env for env in pipeline["components"]["environments"].values() if "process" in env["urn"]]
    assert processes
    assert all("dependencies" not in env for env in processes)
    wanted = {"parallelism": "3", "max_parallelism": "128", "streaming": True, "max_bundle_time_mills": "500"}
    wanted |= {"operator_chaining": "false", "finish_bundle_before_checkpointing": "true"}
    assert {name: flags[f"beam:option:{name}:v1"] for name in wanted} == wanted
    assert "beam:option:runner:v1" not in flags


def test_only_a_job_that_reads_ranges_lets_its_sources_end(options: FlinkOptions) -> None:
    flag = "--shutdown_sources_after_idle_ms=0"
    assert flag not in pipeline_flags(options)
    assert flag in pipeline_flags(replace(options, ends=True))


def test_what_crosses_stages_and_is_kept_is_bytes_to_java_too(options: FlinkOptions, tmp_path: Path) -> None:
    topic = Topic(start_s=0, rate=1, batches=1, ends=False, out="")
    write_job_jar(lambda pipeline: lane_job.build(pipeline, topic, 1), options, tmp_path / "job.jar")
    with zipfile.ZipFile(tmp_path / "job.jar") as jar:
        components = json.loads(jar.read("BEAM-PIPELINE/pipeline/pipeline.json"))["components"]

    def coder(coder_id: str) -> tuple[object, ...]:
        found = components["coders"][coder_id]
        return found["spec"]["urn"], *(coder(part) for part in found.get("componentCoderIds", []))

    transforms = {found["uniqueName"]: found for found in components["transforms"].values()}
    for name in ("read", "state"):
        (output,) = transforms[name]["outputs"].values()
        kinds = coder(components["pcollections"][output]["coderId"])
        assert kinds == ("beam:coder:kv:v1", ("beam:coder:bytes:v1",), ("beam:coder:bytes:v1",))
    states = beam_runner_api_pb2.ParDoPayload.FromString(b64decode(transforms["state"]["spec"]["payload"])).state_specs
    kept = [states["log"].bag_spec.element_coder_id]
    kept += [states[name].read_modify_write_spec.coder_id for name in ("base", "meta")]
    assert [coder(coder_id) for coder_id in kept] == [("beam:coder:bytes:v1",)] * 3


def test_the_worker_is_our_command_with_our_environment(options: FlinkOptions) -> None:
    flag = next(flag for flag in pipeline_flags(options) if flag.startswith("--environment_config="))
    assert json.loads(flag.partition("=")[2]) == {"command": str(WORKER_COMMAND), "env": {"A": "b c"}}
    assert WORKER_COMMAND.stat().st_mode & 0o111


def test_boot_arguments_are_told_by_their_sign() -> None:
    assert arguments(["--id=1-2", "--provision_endpoint=localhost:9", "stray", "--url=a=b"]) == {
        "id": "1-2",
        "provision_endpoint": "localhost:9",
        "url": "a=b",
    }


def test_arguments_win_over_the_provision_service_and_empty_endpoints_are_left_out() -> None:
    endpoints = {"logging": "localhost:1", "control": "localhost:2", "status": ""}
    assert worker_environment({"id": "w", "control_endpoint": "localhost:3"}, endpoints, "{}") == {
        "WORKER_ID": "w",
        "PIPELINE_OPTIONS": "{}",
        "LOGGING_API_SERVICE_DESCRIPTOR": 'url: "localhost:1"',
        "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "localhost:3"',
    }
