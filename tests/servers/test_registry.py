"""The closing line about real servers, and the difference that CI makes."""

import socket

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.servers.fixtures import leave_out
from tests.servers.ports import NoPortError, free_block
from tests.servers.registry import Registry, ServerUnavailableError, require


def test_the_line_names_what_ran_and_what_did_not() -> None:
    registry = Registry(used={"kafka": "kafka 4.3.1", "flink": "flink 1.16.3"}, left_out={"elasticsearch": "no java"})
    assert registry.line() == "real servers: flink 1.16.3, kafka 4.3.1; left out: elasticsearch (no java)"


def test_what_ran_somewhere_is_not_left_out() -> None:
    registry = Registry(left_out={"kafka": "tests deselected"})
    registry.merge(Registry(used={"kafka": "kafka 4.3.1"}).as_dict())
    assert registry.line() == "real servers: kafka 4.3.1; left out: none"


def test_a_session_without_servers_says_nothing() -> None:
    assert Registry().line() == ""


def test_a_missing_server_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(Skipped, match="kafka: no java"):
        leave_out(registry, "kafka", "no java")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Failed, match="kafka: no java"):
        leave_out(registry, "kafka", "no java")
    assert registry.left_out == {"kafka": "no java"}


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServerUnavailableError, match="java and mvn not on the PATH"):
        require("java", "mvn")


def test_a_block_avoids_ports_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("NEPHRITE_TEST_PORTS", f"{port}-{port}")
        with pytest.raises(NoPortError, match="no 1 adjacent ports are free"):
            free_block(1)
    assert free_block(1) == port
