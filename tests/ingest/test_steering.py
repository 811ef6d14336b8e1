"""Several sockets on one port: every source stays with one of them, and all of them get some."""

import select
import socket
from collections import defaultdict

import pytest

from common.config import Bus, Ingest, Listener, Settings
from common.errors import ConfigError
from ingest.listeners.steering import open_group
from ingest.listeners.udp import open_socket
from ingest.processes import check_processes, settings_of_process


def received(group: list[socket.socket], count: int) -> dict[str, set[int]]:
    """Which sockets each source came to."""
    by_source: dict[str, set[int]] = defaultdict(set)
    for _ in range(count):
        ready, _, _ = select.select(group, [], [], 10)
        _, address = ready[0].recvfrom(100)
        by_source[address[0]].add(group.index(ready[0]))
    return by_source


@pytest.mark.parametrize("sockets", [1, 2, 3])
def test_a_source_stays_with_its_socket_whatever_its_port(sockets: int) -> None:
    group = open_group(Listener(host="127.0.0.1", port=0), sockets)
    sources = [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(60)]
    for source in sources * 3:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((source, 0))
            udp.sendto(b"x", group[0].getsockname())
    by_source = received(group, 180)
    for each in group:
        each.close()
    assert sorted(by_source) == sorted(sources)
    assert all(len(places) == 1 for places in by_source.values())
    shares = [sum(places == {number} for places in by_source.values()) for number in range(sockets)]
    assert sum(shares) == 60
    assert min(shares) >= 60 // sockets // 3


def test_ipv6_and_dual_stack_are_steered_too() -> None:
    group = open_group(Listener(host="::", port=0), 2)
    port = group[0].getsockname()[1]
    for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
        for _ in range(20):
            with socket.socket(family, socket.SOCK_DGRAM) as udp:
                udp.sendto(b"x", (address, port))
    by_source = received(group, 40)
    for each in group:
        each.close()
    assert {source: len(places) for source, places in by_source.items()} == {"::1": 1, "::ffff:127.0.0.1": 1}


def test_a_port_that_others_hold_alone_cannot_be_shared() -> None:
    with open_socket(Listener(host="127.0.0.1", port=0)) as alone:
        port = alone.getsockname()[1]
        with pytest.raises(ConfigError, match=f"UDP 127.0.0.1 port {port}: Address already in use"):
            open_group(Listener(host="127.0.0.1", port=port), 2)


def test_a_multicast_group_is_joined() -> None:
    with open_socket(Listener(host="239.255.9.9", port=0, group="239.255.9.9")) as listening:
        port = listening.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            try:
                udp.sendto(b"x", ("239.255.9.9", port))
            except OSError:
                pytest.skip("this machine has no route for multicast")
        assert select.select([listening], [], [], 10)[0] == [listening]


def test_each_process_has_a_name_a_folder_and_a_watch_port_of_its_own() -> None:
    settings = Settings(data_dir="/data", ingest=Ingest(processes=3, watch_port=9100), bus=Bus(url="kafka://h:1/t"))
    check_processes(settings)
    second = settings_of_process(settings, 1, "east")
    assert (second.data_dir, second.ingest.collector, second.ingest.watch_port) == ("/data/process-1", "east.1", 9101)
    with pytest.raises(ConfigError, match="more than one needs a Kafka bus"):
        check_processes(settings.model_copy(update={"bus": Bus()}))
