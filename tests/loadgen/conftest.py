"""Programs of others that read what the generator writes."""

import shutil

import pytest

from tests.servers.fixtures import leave_out
from tests.servers.registry import REGISTRY


@pytest.fixture
def tshark(request: pytest.FixtureRequest) -> str:
    return _program(request, "tshark")


@pytest.fixture
def nfdump(request: pytest.FixtureRequest) -> str:
    return _program(request, "nfdump")


def _program(request: pytest.FixtureRequest, name: str) -> str:
    found = shutil.which(name)
    if found is None:
        leave_out(request.config.stash[REGISTRY], name, f"{name} is not on the PATH")
    return found
