"""A capture sent again: the same octets in the same order, from the right addresses, at the right pace, until told to stop."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.testing import CliRunner, Result

from common.addresses import format_address, pack_address
from common.errors import InputError, UsageError
from ingest.decoder import Datagram
from ingest.loadgen import resend
from ingest.loadgen.commands import app_commands
from ingest.loadgen.export import Exporters
from ingest.loadgen.network import Arrival, deliver
from ingest.loadgen.outputs import CaptureFile, Pace, full_speed
from ingest.loadgen.resend import Account, Sources, Target, find_target
from ingest.loadgen.scenario import Exporter
from tests.loadgen.rows import START_MS, tiny

REPOSITORY: Final = Path(__file__).parents[2]
SLOW_MS: Final = 3_600_000
app = typer.Typer()
app_commands(app)


@contextmanager
def sink(family: socket.AddressFamily = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.bind((host, 0))
        opened.settimeout(5)
        yield opened


def target_of(opened: socket.socket) -> Target:
    host, port, *_ = opened.getsockname()
    return Target(socket.AddressFamily(opened.family), host, port)


def unnoted(_time_ms: int, _account: Account) -> None:
    """Nobody looks."""


def send(datagrams: list[Datagram], target: Target) -> Account:
    return resend.resend(datagrams, target, lambda _first: full_speed(lambda: False), unnoted)


def received(opened: socket.socket) -> tuple[bytes, str]:
    payload, (address, *_) = opened.recvfrom(65_535)
    return payload, address


def datagram(source: str, payload: bytes, at_ms: int = 0) -> Datagram:
    return Datagram(pack_address(source), START_MS + at_ms, payload)


def capture(path: Path, *exporters: str) -> list[Arrival]:
    scenario = tiny(*(Exporter(address=address, protocol="sflow", interfaces=2) for address in exporters), rate=20, duration_s=2)
    found = [a for due in deliver(scenario, START_MS, Exporters(scenario, START_MS).slices()) for a in due]
    with CaptureFile(path, scenario) as file:
        file.write(found)
    return found


def test_loopback_exporters_keep_their_addresses_on_a_loopback_target() -> None:
    mixed = [
        datagram(source, bytes([n])) for n, source in enumerate(("127.9.0.1", "192.0.2.7", "2001:db8::7", "127.9.0.2", "127.9.0.1"))
    ]
    with sink() as opened:
        account = send(mixed, target_of(opened))
        assert [received(opened) for _ in mixed] == [
            (b"\x00", "127.9.0.1"),
            (b"\x01", "127.0.0.1"),
            (b"\x02", "127.0.0.1"),
            (b"\x03", "127.9.0.2"),
            (b"\x04", "127.9.0.1"),
        ]
    assert (account.datagrams, account.octets, len(account.sources)) == (5, 5, 4)
    assert {format_address(source) for source in account.shown} == {"127.9.0.1", "127.9.0.2"}


def test_elsewhere_one_socket_sends_for_all() -> None:
    target = Target(socket.AF_INET, "192.0.2.1", 9)
    with Sources(target) as sources:
        assert sources.socket_of(pack_address("127.9.0.1")) is sources.socket_of(pack_address("192.0.2.7"))
    with sink(socket.AF_INET6, "::1") as opened:
        account = send([datagram("127.9.0.1", b"x")], target_of(opened))
        assert received(opened) == (b"x", "::1")
    assert not account.shown


def test_sockets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "MOST_SOCKETS", 2)
    one, two, three = (pack_address(f"127.9.0.{n}") for n in (1, 2, 3))
    with sink() as opened, Sources(target_of(opened)) as sources:
        first, second = sources.socket_of(one), sources.socket_of(two)
        assert sources.socket_of(one) is first
        third = sources.socket_of(three)
        assert (first.fileno() >= 0, second.fileno(), third.fileno() >= 0) == (True, -1, True)
    assert (first.fileno(), third.fileno()) == (-1, -1)


def test_what_no_datagram_can_hold_is_counted() -> None:
    with sink() as opened:
        account = send([datagram("127.9.0.1", bytes(65_520)), datagram("127.9.0.1", b"x")], target_of(opened))
        assert received(opened)[0] == b"x"
    assert (account.too_long, account.datagrams) == (1, 1)


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(UsageError, match=r"udp://255\.255\.255\.255:9: cannot be sent to"):
        send([datagram("127.9.0.1", b"x")], Target(socket.AF_INET, "255.255.255.255", 9))


def test_the_pace_begins_with_the_first_datagram_and_may_end_it() -> None:
    asked: list[int] = []
    noted: list[tuple[int, int]] = []

    def pace(at_ms: int) -> bool:
        asked.append(at_ms)
        return len(asked) < 4

    def pace_from(first_ms: int) -> Pace:
        asked.append(-first_ms)
        return pace

    with sink() as opened:
        four = [datagram("127.9.0.1", b"x", at_ms) for at_ms in (7, 9, 8, 20)]
        account = resend.resend(four, target_of(opened), pace_from, lambda at_ms, so_far: noted.append((at_ms, so_far.datagrams)))
    assert asked == [-START_MS - 7, START_MS + 7, START_MS + 9, START_MS + 8]
    assert noted == [(START_MS + 7, 1), (START_MS + 9, 2)]
    assert account.datagrams == 2


def test_targets() -> None:
    assert find_target("127.0.0.1", 9) == Target(socket.AF_INET, "127.0.0.1", 9)
    assert find_target("[::1]", 9) == Target(socket.AF_INET6, "::1", 9)
    assert [str(find_target(host, 9)) for host in ("127.0.0.1", "[::1]")] == ["udp://127.0.0.1:9", "udp://[::1]:9"]
    with pytest.raises(UsageError, match="no address of that name"):
        find_target("nowhere.invalid", 9)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["resend", *arguments], catch_exceptions=False)


def test_command(tmp_path: Path) -> None:
    found = capture(tmp_path / "a.pcap", "127.9.0.1", "127.9.0.2")
    with sink() as opened:
        result = run(str(tmp_path / "a.pcap"), "--to", f"udp://127.0.0.1:{opened.getsockname()[1]}", "--speed", "max")
        assert result.exit_code == 0
        meant = [(a.datagram.payload, f"127.9.0.{a.datagram.exporter + 1}") for a in found]
        assert [received(opened) for _ in found] == meant
    rows = [line.split() for line in result.output.splitlines()]
    assert ["datagrams", "sent", str(len(found))] in rows
    assert ["exporters", "at", "their", "own", "address", "2"] in rows


def test_bad_usage_and_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    capture(path, "127.9.0.1")
    with pytest.raises(UsageError, match="expected udp://HOST:PORT"):
        run(str(path), "--to", "127.0.0.1:9")
    with pytest.raises(InputError, match="nothing to send: no whole UDP datagram to these ports in it"):
        run(str(path), "--to", "udp://127.0.0.1:9", "--port", "2055")
    with pytest.raises(InputError, match="cannot be read"):
        run(str(tmp_path / "b.pcap"), "--to", "udp://127.0.0.1:9")


def test_a_capture_that_ends_too_early_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    found = capture(path, "127.9.0.1")
    path.write_bytes(path.read_bytes()[:-5])
    with sink() as opened:
        result = run(str(path), "--to", f"udp://127.0.0.1:{opened.getsockname()[1]}", "--speed", "max")
    assert "capture_cut_off" in result.output
    assert "ends in the middle of a frame" in result.output
    assert ["datagrams", "sent", str(len(found) - 1)] in [line.split() for line in result.output.splitlines()]


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """The second datagram comes an hour after the first."""
    path, scenario = tmp_path / "a.pcap", tiny(Exporter(address="127.9.0.1", protocol="sflow", interfaces=2))
    first = next(a for due in deliver(scenario, START_MS, Exporters(scenario, START_MS).slices()) for a in due)
    with CaptureFile(path, scenario) as file:
        file.write([first, Arrival(first.datagram, first.received_ms + SLOW_MS, 0)])
    with sink() as opened:
        command = [sys.executable, "-m", "nephrite", "resend", str(path), "--to", f"udp://127.0.0.1:{opened.getsockname()[1]}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "proto")))}
        opened.settimeout(60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert received(opened) == (first.datagram.payload, "127.9.0.1")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert ["datagrams", "sent", "1"] in [line.split() for line in output.splitlines()]
