"""Sockets that the Kafka client leaves behind when it is closed while it connects: collected here, not in a later test.

Only those are forgiven, and only in tests that use a real broker.
"""

import gc
import warnings
from collections.abc import Iterator, Sequence

import pytest

_LEFT_BEHIND = "unclosed <socket"


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "bus" and item.get_closest_marker("server"):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{_LEFT_BEHIND}:ResourceWarning"))


@pytest.fixture(autouse=True)
def sockets_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("server"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _LEFT_BEHIND, ResourceWarning)
            gc.collect()
