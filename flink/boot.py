"""Boots a Python worker in Beam's PROCESS environment, for code that is already installed.

In: the arguments that the runner gives to the environment's command. Out: this process becomes Beam's SDK worker.
It takes the place of the boot program of Beam's container images, without what only they need: no artifact is fetched
and nothing is installed, since worker and submitter have the same code.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from google.protobuf import json_format

PROVISION_TIMEOUT_S = 60
WORKER_MODULE = "apache_beam.runners.worker.sdk_worker_main"
_ENDPOINTS = ("logging", "control", "status")


def arguments(argv: Sequence[str]) -> dict[str, str]:
    """{"id": "1-2"} of ["--id=1-2"]; what has no value is left out."""
    pairs = (argument.lstrip("-").partition("=") for argument in argv)
    return {name: value for name, sep, value in pairs if sep}


def worker_environment(given: Mapping[str, str], endpoints: Mapping[str, str], options: str) -> dict[str, str]:
    """Environment variables for Beam's worker, on top of the inherited ones.

    `given` are the command's arguments and win over `endpoints`, those of the provision service, by name of the
    service; `options` are the pipeline's options as JSON.
    """
    env = {"WORKER_ID": given["id"], "PIPELINE_OPTIONS": options}
    for service in _ENDPOINTS:
        url = given.get(f"{service}_endpoint") or endpoints.get(service)
        if url:
            # an ApiServiceDescriptor in protobuf's text format; JSON quoting is valid there
            env[f"{service.upper()}_API_SERVICE_DESCRIPTOR"] = f"url: {json.dumps(url)}"
    return env


def main(argv: Sequence[str]) -> None:
    """Ask the runner how to reach it, then become the worker."""
    given = arguments(argv)
    with grpc.insecure_channel(given["provision_endpoint"]) as channel:
        info = (
            beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
            .GetProvisionInfo(
                beam_provision_api_pb2.GetProvisionInfoRequest(),
                metadata=[("worker_id", given["id"])],
                timeout=PROVISION_TIMEOUT_S,
            )
            .info
        )
    endpoints = {service: getattr(info, f"{service}_endpoint").url for service in _ENDPOINTS}
    env = worker_environment(given, endpoints, json_format.MessageToJson(info.pipeline_options))
    env["RUNNER_CAPABILITIES"] = " ".join(info.runner_capabilities)
    os.execve(sys.executable, [sys.executable, "-m", WORKER_MODULE], dict(os.environ) | env)


if __name__ == "__main__":
    main(sys.argv[1:])
