"""The ports that are open by default: all customary ones; one that another program has is done without, but never the first."""

import logging
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from common.config import CUSTOMARY, Bus, ExporterSettings, Ingest, Listener, Settings
from common.errors import ConfigError
from ingest.checking import check_settings
from ingest.chunks import ChunkQueue
from ingest.listeners.receivers import Receivers
from ingest.processes import ProcessGroup
from tests.ingest.test_service import until

HOST = "127.0.0.1"


def test_the_customary_ports_are_the_default() -> None:
    assert [(each.transport, each.port, each.optional) for each in Ingest().listeners] == [
        ("udp", 9999, False),
        ("udp", 2055, True),
        ("udp", 4739, True),
        ("udp", 6343, True),
        ("tcp", 4739, True),
    ]
    assert Listener(transport="tls", certificate_file="c", client_ca_file="a").port == 4740
    assert Listener(transport="tls", port=1, certificate_file="c", client_ca_file="a").port == 1


def test_certificates_open_the_port_of_tls() -> None:
    files = {"certificate_file": "c", "client_ca_file": "a"}
    *customary, tls = Ingest.model_validate({"tls": files}).listeners
    assert tuple(customary) == CUSTOMARY
    assert (tls.transport, tls.port, tls.optional, tls.certificate_file, tls.client_ca_file) == ("tls", 4740, True, "c", "a")
    listed = [{"port": 1}, {"transport": "tls", "port": 2}, {"transport": "tls", "certificate_file": "d", "client_ca_file": "b"}]
    under_test = Ingest.model_validate({"tls": {**files, "key_file": "k"}, "listeners": listed}).listeners
    assert [(each.port, each.certificate_file, each.key_file, each.client_ca_file) for each in under_test] == [
        (1, "", "", ""), (2, "c", "k", "a"), (4740, "d", "", "b"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="certificate_file and client_ca_file go together"):
        Ingest.model_validate({"tls": {"certificate_file": "c"}})
    with pytest.raises(ValueError, match="transport tls needs certificate_file and client_ca_file"):
        Ingest.model_validate({"listeners": [{"transport": "tls"}]})


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that another program has, of UDP and of TCP."""
    with closing(socket.create_server((HOST, 0))) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        port: int = stream.getsockname()[1]
        udp.bind((HOST, port))
        yield port


def receivers(*listeners: Listener) -> Receivers:
    return Receivers(listeners, ChunkQueue(1 << 20), lambda: 0, lambda source: source)


def here(port: int, transport: str = "udp", optional: bool = True) -> Listener:
    return Listener.model_validate({"host": HOST, "port": port, "transport": transport, "optional": optional})


def test_a_customary_port_that_is_taken_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    with taken_port() as port, caplog.at_level(logging.WARNING):
        under_test = receivers(here(port, "tcp"), here(0), here(port), here(0, "tcp", optional=False))
        under_test.open()
        assert [each.transport for each in under_test.endpoints] == ["udp", "tcp"]
        assert port not in {each.port for each in under_test.endpoints}
        under_test.close()
    assert sorted(record.getMessage().split(":")[1].strip() for record in caplog.records) == [
        f"{kind} {HOST} port {port}" for kind in ("TCP", "UDP")
    ]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_port_that_was_asked_for_has_to_be_free(transport: str) -> None:
    with taken_port() as port, pytest.raises(ConfigError, match=f"port {port}: Address already in use"):
        receivers(here(port, transport, optional=False)).open()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with taken_port() as port:
        ingest = Ingest(
            listeners=(Listener(host="127.0.0.1", port=port),),
            exporter_settings=(ExporterSettings(networks=("10.0.0.0/8",), keep_elements=("nonsense",)),),
            share_templates="kafka:",
            flow_documents="kafka://host",
            processes=2,
        )
        settings = Settings(data_dir=str(tmp_path), ingest=ingest, bus=Bus(url="kafkas://host/topic"))
        with pytest.raises(ConfigError) as caught:
            check_settings(settings)
        with pytest.raises(ConfigError) as while_running:
            check_settings(settings, are_ports_ours=True)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "bus.url",
        "ingest.processes",
        "ingest.exporter_settings",
        "ingest.flow_documents",
        "ingest.listeners",
    ]
    assert caught.value.problems[:-1] == while_running.value.problems
    check_settings(Settings(data_dir=str(tmp_path)))


def test_other_faults_of_a_customary_port_stop_the_start() -> None:
    with pytest.raises(ConfigError, match="Cannot assign requested address"):
        receivers(Listener(host="203.0.113.7", port=0, optional=True)).open()


def test_several_processes_do_without_it_too(tmp_path: Path) -> None:
    noted = tmp_path / "arguments"
    command = ["/bin/sh", "-c", f'echo "$@" > {noted}.new; mv {noted}.new {noted}; exec sleep 60', "sh"]
    with taken_port() as port, ExitStack() as closing_group:
        group = ProcessGroup([here(port), here(0), here(port, "tcp")], 1, command)
        closing_group.callback(group.stop)
        group.keep_running()
        until(noted.exists)
        found = re.fullmatch(r"--process 0 --inherit -1,(\d+),-1\n", noted.read_text())
        assert found
        under_test = receivers(here(port), here(0), here(port, "tcp"))
        under_test.open([-1, os.dup(int(found[1])), -1])
        assert [each.transport for each in under_test.endpoints] == ["udp"]
        under_test.close()
        group.signal(signal.SIGTERM)


def test_defaults_are_as_good_as_configured() -> None:
    assert Ingest.model_validate({"listeners": [each.model_dump() for each in CUSTOMARY]}).listeners == CUSTOMARY
