"""Programs of others that read the same packets."""

import shutil

import pytest

from tests.servers.fixtures import leave_out
from tests.servers.registry import REGISTRY


@pytest.fixture(scope="session")
def tshark(request: pytest.FixtureRequest) -> str:
    return program(request, "tshark")


@pytest.fixture(scope="session")
def nfdump(request: pytest.FixtureRequest) -> str:
    program(request, "nfcapd")
    return program(request, "nfdump")


def program(request: pytest.FixtureRequest, name: str) -> str:
    found = shutil.which(name)
    if found is None:
        leave_out(request.config.stash[REGISTRY], name, f"{name} is not on the PATH")
    return found
