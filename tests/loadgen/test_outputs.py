"""Capture files, sockets and the command, and what programs of others read in them."""

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest
import typer
from typer.testing import CliRunner, Result

from bus.memory import MemorySource, memory_log
from common.errors import ConfigError, InputError, UsageError
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.commands import app_commands
from ingest.loadgen.export import Exporters
from ingest.loadgen.network import Arrival, deliver
from ingest.loadgen.outputs import CaptureFile, UdpSender, full_speed, real_time
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Collector, Exporter, Scenario
from tests.loadgen.rows import START_MS, tiny

app = typer.Typer()
app_commands(app)
app.command("other")(lambda: None)

MIXED = tuple(
    Exporter(address=f"127.9.0.{n}", protocol=p, interfaces=3, time_fields="uptime" if p == "netflow9" else "milliseconds")
    for n, p in enumerate(("netflow5", "netflow9", "ipfix", "sflow"), start=1)
)


def arrivals(scenario: Scenario) -> list[Arrival]:
    return [a for due in deliver(scenario, START_MS, Exporters(scenario, START_MS).slices()) for a in due]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["generate", *arguments], catch_exceptions=False)


def capture(path: Path, scenario: Scenario) -> list[Arrival]:
    found = arrivals(scenario)
    with CaptureFile(path, scenario) as file:
        file.write(found)
    return found


def test_capture(tmp_path: Path) -> None:
    found = capture(tmp_path / "a.pcap", tiny(*MIXED))
    with (tmp_path / "a.pcap").open("rb") as file:
        frames = list(dpkt.pcap.Reader(file))
    assert [round(float(when) * 1000) for when, _ in frames] == [arrival.received_ms for arrival in found]
    for (_, frame), arrival in zip(frames, found, strict=True):
        packet = dpkt.ethernet.Ethernet(frame).data
        assert socket.inet_ntoa(packet.src) == f"127.9.0.{arrival.datagram.exporter + 1}"
        assert (socket.inet_ntoa(packet.dst), packet.data.dport, packet.data.data) == ("127.0.0.1", 9999, arrival.datagram.payload)


def test_capture_of_an_exporter_with_an_ipv6_address(tmp_path: Path) -> None:
    capture(tmp_path / "a.pcap", tiny(Exporter(address="2001:db8::7", protocol="ipfix")))
    with (tmp_path / "a.pcap").open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(frame).data for _, frame in dpkt.pcap.Reader(file)]
    assert {socket.inet_ntop(socket.AF_INET6, packet.src) for packet in frames} == {"2001:db8::7"}
    assert all(packet.data.dport == 9999 for packet in frames)


def test_a_capture_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), CaptureFile(tmp_path / "a.pcap", tiny()):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written: No such file"):
        CaptureFile(tmp_path / "none" / "a.pcap", tiny())


def receive(sink: socket.socket) -> tuple[bytes, str]:
    payload, (address, _) = sink.recvfrom(9000)
    return payload, address


def test_udp_from_the_addresses_of_the_exporters() -> None:
    scenario = tiny(*MIXED, duration_s=1)
    found = arrivals(scenario)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(5)
        sender = UdpSender(scenario, [sink.getsockname()])
        for arrival in found:
            assert sender.send([arrival], full_speed(lambda: False)) == 1
            assert receive(sink) == (arrival.datagram.payload, f"127.9.0.{arrival.datagram.exporter + 1}")
        sender.close()


def test_udp_to_two_collectors() -> None:
    scenario = tiny(*MIXED, duration_s=1).model_copy(update={"collectors": (Collector(name="a"), Collector(name="b"))})
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for sink in (one, two):
            sink.bind(("127.0.0.1", 0))
            sink.settimeout(5)
        sender = UdpSender(scenario, [one.getsockname(), two.getsockname()])
        for arrival in arrivals(scenario):
            sender.send([arrival], full_speed(lambda: False))
            assert receive((one, two)[arrival.collector])[0] == arrival.datagram.payload
        sender.close()
    with pytest.raises(UsageError, match="3 targets for 2 collectors"):
        UdpSender(scenario, [("127.0.0.1", 9)] * 3)


def test_a_stop_ends_sending() -> None:
    scenario = tiny(*MIXED, duration_s=1)
    found, asked = arrivals(scenario), iter([False, False, True])
    sender = UdpSender(scenario, [("127.0.0.1", 9)])
    assert sender.send(found, full_speed(lambda: next(asked))) == 2
    sender.close()
    assert not real_time(START_MS, 2**50, lambda: True)(START_MS)
    assert real_time(START_MS, 0, lambda: False)(START_MS)


def test_command_writes_capture_and_answer(tmp_path: Path) -> None:
    files = ("--pcap", str(tmp_path / "a.pcap"), "--expect", str(tmp_path / "a.json"))
    result = run("small", "--duration", "2", *files)
    assert result.exit_code == 0
    assert "flows delivered" in result.output
    answer = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert answer["counts"]["accepted"] == sum(account["flows"] for account in answer["delivered"])
    assert {d["aggregation_type"] for d in answer["documents"]} == {"TOTAL", "TOPK", "OTHER"}
    before = (tmp_path / "a.pcap").read_bytes(), (tmp_path / "a.json").read_bytes()
    run("small", "--duration", "2", *files)
    assert ((tmp_path / "a.pcap").read_bytes(), (tmp_path / "a.json").read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.pcap"]


def test_command_fills_a_bus(tmp_path: Path) -> None:
    expect = tmp_path / "a.json"
    run("small", "--duration", "2", "--bus", "memory:loadgen", "--start", "2026-01-01T00:00:00", "--expect", str(expect))
    source = MemorySource(memory_log("loadgen", 16))
    entries = [entry for partition in range(16) for entry in source.read(partition, 0, 1 << 30)]
    assert len(entries) == json.loads(expect.read_text(encoding="utf-8"))["counts"]["batches"]


@pytest.mark.parametrize("most", [20, 41, 50])
def test_what_was_not_sent_before_a_stop_counts_as_neither_sent_nor_lost(most: int) -> None:
    player = Player(tiny(*MIXED), START_MS, lambda _doing, _reached: None, lambda: False)
    left = iter(range(most))
    run = player.to_network(lambda due: sum(next(left, None) is not None for _ in due), with_answer=True)
    assert sum(account.datagrams for account in run.accounts) == most
    assert sum(sent.datagrams for sent in run.sent) == most
    assert run.answer is not None
    assert run.answer.counts.flows == sum(account.flows for account in run.accounts) == sum(sent.flows for sent in run.sent)


def test_command_lists_scenarios() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert all(name in result.output for name in BUILTIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a scenario"),
        (["small"], "give one of"),
        (["small", "--to", "udp://127.0.0.1:9", "--bus", "memory:x"], "give one of"),
        (["small", "--to", "127.0.0.1:9"], "expected udp://HOST:PORT"),
        (["small", "--to", "udp://127.0.0.1:0"], "expected udp://HOST:PORT"),
        (["small", "--to", "udp://[::1]:9"], "no IPv4 address"),
        (["small", "--pcap", "x", "--start", "noon"], "neither ISO 8601"),
    ],
)
def test_bad_usage(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(*arguments)


def test_bad_scenario_and_bad_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="built-in ones"):
        run("tiny", "--pcap", "x")
    with pytest.raises(InputError, match="cannot be written"):
        run("small", "--duration", "1", "--pcap", str(tmp_path / "a.pcap"), "--expect", str(tmp_path / "none" / "a.json"))


def test_tshark_reads_every_field(tmp_path: Path, tshark: str) -> None:
    path = tmp_path / "a.pcap"
    small = BUILTIN["small"]
    fleet = tuple(exporter for exporter in small.exporters if exporter.protocol != "sflow")
    found = capture(path, small.model_copy(update={"duration_s": 3.0, "exporters": fleet}))
    fields = ("cflow.octets", "cflow.packets", "cflow.srcport", "cflow.inputint", "cflow.srcas")
    command = [tshark, "-n", "-r", str(path), "-d", "udp.port==9999,cflow", "-T", "fields", "-E", "aggregator=,"]
    shown = subprocess.run(
        [*command, *(part for name in fields for part in ("-e", name)), "-e", "_ws.malformed"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.splitlines()
    assert len(shown) == len(found)
    for line, arrival in zip(shown, found, strict=True):
        octets, packets, ports, inputs, numbers, malformed = line.split("\t")
        rows = arrival.datagram.rows
        assert malformed == ""
        assert list(map(int, filter(None, octets.split(",")))) == rows["bytes"].tolist()
        assert list(map(int, filter(None, packets.split(",")))) == rows["packets"].tolist()
        assert list(map(int, filter(None, ports.split(",")))) == rows["src_port"].tolist()
        if not arrival.datagram.announces:
            assert list(map(int, inputs.split(","))) == rows["in_if"].tolist()
            assert len(numbers.split(",")) == len(rows)


def test_nfdump_counts_the_same(tmp_path: Path, nfdump: str) -> None:
    scenario = tiny(*MIXED[:3], rate=300, duration_s=4)  # sFlow has a program of its own there, sfcapd
    found = arrivals(scenario)
    port = free_port()
    nfcapd = [str(Path(nfdump).with_name("nfcapd")), "-b", "127.0.0.1", "-p", str(port), "-w", str(tmp_path), "-t", "3600"]
    with subprocess.Popen(nfcapd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as collector:
        wait_until(lambda: queued(port) is not None)
        sender = UdpSender(scenario, [("127.0.0.1", port)])
        for arrival in found:
            sender.send([arrival], full_speed(lambda: False))
            wait_until(lambda: queued(port) == 0)
        sender.close()
        collector.terminate()
    command = [nfdump, "-R", str(tmp_path), "-q", "-N", "-o", "fmt:%byt,%pkt,%sp,%in,%out"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    seen = Counter(tuple(int(part) for part in line.split(",")) for line in lines if line.count(",") == 4)
    names = ("bytes", "packets", "src_port", "in_if", "out_if")
    sent = Counter(tuple(int(row[name]) for name in names) for arrival in found for row in arrival.datagram.rows)
    assert seen == sent


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def queued(port: int) -> int | None:
    """Octets that wait in the UDP socket of a port, None where there is no socket."""
    for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            return int(fields[4].partition(":")[2], 16)
    return None


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)
