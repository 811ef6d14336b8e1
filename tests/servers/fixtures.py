"""Pytest plugin: session fixtures `kafka`, `flink_cluster` and `elasticsearch`, and the closing line about real servers.

Loaded by `pytest_plugins = ["tests.servers.fixtures"]`. A server that cannot be had skips the tests that need it,
with the reason; with CI=true in the environment it fails them instead, so that nothing is left out unseen.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.servers.registry import NAMES, REGISTRY, Registry, ServerUnavailableError

if TYPE_CHECKING:  # the fixtures import late: Beam alone takes a second, and most sessions need no server
    from tests.servers.elasticsearch import ElasticsearchServer
    from tests.servers.flink import FlinkCluster
    from tests.servers.kafka import KafkaServer

_WORKER_KEY = "nephrite_real_servers"


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[KafkaServer]":
    """A broker for the whole session; take a topic of your own with `new_topic`."""
    from tests.servers.kafka import KafkaServer

    registry = request.config.stash[REGISTRY]
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"))
        server.start()
    except ServerUnavailableError as err:
        leave_out(registry, "kafka", str(err))
    registry.used["kafka"] = str(server)
    yield server
    server.wipe()


@pytest.fixture(scope="module")
def broker(kafka: "KafkaServer", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[KafkaServer]":
    """A broker of the module's own, to be stopped at will."""
    from bus.kafka_source import close_pool

    server = type(kafka)(tmp_path_factory.mktemp("broker"))
    server.start()
    yield server
    close_pool()
    server.wipe()


@pytest.fixture(scope="session")
def kafka_secured(kafka: "KafkaServer", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[KafkaServer]":
    """A second broker, with TLS and SASL listeners; topics behind them by `secured_url`."""
    server = type(kafka)(tmp_path_factory.mktemp("secured"), secure=True)
    server.start()
    yield server
    server.wipe()


@pytest.fixture(scope="session")
def elasticsearch(request: pytest.FixtureRequest) -> "Iterator[ElasticsearchServer]":
    """A node for the whole session, without modules beyond the core; take names of your own with `new_prefix`."""
    from tests.servers.elasticsearch import ElasticsearchServer

    registry = request.config.stash[REGISTRY]
    try:
        server = ElasticsearchServer()
        server.start()
    except ServerUnavailableError as err:
        leave_out(registry, "elasticsearch", str(err))
    registry.used["elasticsearch"] = str(server)
    yield server
    server.wipe()


@pytest.fixture(scope="session")
def flink_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[FlinkCluster]":
    """A cluster for the whole session; cancel your jobs, and start again what you kill."""
    from tests.servers.flink import FlinkCluster

    registry = request.config.stash[REGISTRY]
    try:
        cluster = FlinkCluster(tmp_path_factory.mktemp("flink"))
        cluster.start()
    except ServerUnavailableError as err:
        leave_out(registry, "flink", str(err))
    registry.used["flink"] = str(cluster)
    yield cluster
    cluster.stop()


def leave_out(registry: Registry, name: str, reason: str) -> NoReturn:
    """Record why a server cannot be used, then skip, or fail under CI."""
    registry.left_out[name] = reason
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name}: {reason}", pytrace=False)
    pytest.skip(f"{name}: {reason}")


def server_names(item: pytest.Item) -> list[str]:
    """Names of the servers that a test is marked with."""
    return [name for mark in item.iter_markers("server") for name in mark.args]


def pytest_configure(config: pytest.Config) -> None:
    """Give the session its registry."""
    config.stash[REGISTRY] = Registry()
    # kafka-python reads its protocol's schemas at import with functions that Python 3.11 calls deprecated
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuse marks that name no server we know."""
    for item in items:
        for name in server_names(item):
            if name not in NAMES:
                raise pytest.UsageError(f"{item.nodeid}: server({name!r}) is none of {', '.join(NAMES)}")


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Servers of tests that were not asked for are left out, too."""
    for item in items:
        for name in server_names(item):
            item.config.stash[REGISTRY].left_out.setdefault(name, "tests deselected")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist hands its registry to the one that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER_KEY] = session.config.stash[REGISTRY].as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a process of pytest-xdist handed over."""
    output = getattr(node, "workeroutput", {})
    if _WORKER_KEY in output:
        node.config.stash[REGISTRY].merge(output[_WORKER_KEY])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the closing line."""
    line = config.stash[REGISTRY].line()
    if line:
        terminalreporter.write_line(line)
