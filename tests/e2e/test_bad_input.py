"""What a stranger gives wrongly: one line that says what and where, the right exit code, in time, nothing half-written."""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.command import (
    NEPHRITE,
    Done,
    Service,
    environment,
    files_below,
    free_port,
    nephrite,
    running,
    wait_until,
)
from tests.e2e.peers import octets_waiting, write_capture

FAILED: Final = 1
BAD_USAGE: Final = 2
DEAD_KAFKA: Final = "kafka://127.0.0.1:9/flows"
READERS: Final = ("decode", "replay")


def assert_one_line(done: Done, code: int, *said: str) -> None:
    """One line of error with all these words, this exit code, no traceback."""
    assert "Traceback" not in done.err
    assert done.code == code, done.err
    assert len(done.errors) == 1, done.err
    for words in said:
        assert words in done.errors[0], done.err


def assert_usage(done: Done, *said: str) -> None:
    """As `assert_one_line`, but the parser of options may have drawn a frame and the usage around its line."""
    assert "Traceback" not in done.err
    assert done.code == BAD_USAGE, done.err
    text = " ".join(done.err.split())
    for words in said:
        assert words in text, done.err


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "a.pcap"
    assert nephrite("generate", "small", "--pcap", path, "--rate", "20", "--duration", "3").code == 0
    return path


@pytest.fixture(scope="module")
def data_set(capture: Path) -> Path:
    done = nephrite("replay", capture, "--data-dir", capture.parent, "--into", "set")
    assert done.code == 0, done.err
    return capture.parent / "replay" / "set"


# Captures


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("content", [b"", b"no capture at all\n", b"\xd4\xc3\xb2\xa1\x02", random.Random(1).randbytes(5_000)])
def test_a_file_that_is_no_capture(command: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap"
    path.write_bytes(content)
    arguments = [] if command == "decode" else ["--data-dir", str(tmp_path / "data")]
    assert_one_line(nephrite(command, path, *arguments), FAILED, str(path))
    assert files_below(tmp_path) == {path}


@pytest.mark.parametrize("command", READERS)
def test_a_file_that_is_missing_and_a_folder_instead_of_one(command: str, tmp_path: Path) -> None:
    arguments = [] if command == "decode" else ["--data-dir", str(tmp_path / "data")]
    missing = nephrite(command, tmp_path / "none.pcap", *arguments)
    assert_one_line(missing, FAILED, str(tmp_path / "none.pcap"), "No such file")
    if command == "replay":
        assert_one_line(nephrite(command, tmp_path, *arguments), FAILED, str(tmp_path), "directory")
    assert files_below(tmp_path) == set()


def test_a_capture_that_is_cut_off_gives_what_is_whole_and_says_so(capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-20])
    done = nephrite("replay", cut, "--data-dir", tmp_path)
    assert done.code == 0
    assert "capture_cut_off" in done.err
    assert "Traceback" not in done.err


def test_a_capture_without_one_export_packet(tmp_path: Path) -> None:
    noise = random.Random(2)
    path = write_capture(tmp_path / "noise.pcap", (("127.0.0.1", 1, noise.randbytes(noise.randrange(0, 900))) for _ in range(200)))
    done = nephrite("replay", path, "--data-dir", tmp_path)
    assert done.code == 0
    assert "0 new flows" in done.err
    assert "unknown_protocol" in done.err
    assert "Traceback" not in done.err


# Configuration


@pytest.mark.parametrize("command", ["up", "ingest", "pipeline", "exporters"])
def test_all_faults_of_a_configuration_at_once(command: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("pipelin: {}\ningest: {listeners: [{port: 70000}], nonsense: 1}\npipeline: {top_k: many}\n", encoding="utf-8")
    done = nephrite(command, "--config", path, "--data-dir", tmp_path / "data")
    assert done.code == BAD_USAGE
    assert "Traceback" not in done.err
    assert len(done.errors) == len(done.err.splitlines()) == 4
    for place in ("pipelin", "ingest.listeners.0.port", "ingest.nonsense", "pipeline.top_k"):
        assert any(place in line and str(path) in line for line in done.errors), done.err
    assert files_below(tmp_path) == {path}


@pytest.mark.parametrize(
    "text",
    [
        "ingest: [unclosed",
        "- a\n- list\n",
        "just words",
        "a: 1\n\tb: 2\n",
        "\x00\x01",
        "ingest: &a [*a]",
        "? {a: b}\n: c\n",
        "1: 2",
    ],
)
def test_a_configuration_that_is_no_mapping(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    done = nephrite("exporters", "--config", path, "--data-dir", tmp_path)
    assert_one_line(done, BAD_USAGE, str(path))


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    assert_one_line(nephrite("up", "--config", tmp_path / "none.yaml"), BAD_USAGE, str(tmp_path / "none.yaml"))
    assert_one_line(nephrite("up", "--config", tmp_path), BAD_USAGE, str(tmp_path))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x81")
    assert_one_line(nephrite("up", "--config", binary), BAD_USAGE, str(binary))


@pytest.mark.parametrize(
    ("name", "value"),
    [("NEPHRITE_PIPELINE__TOP_K", "many"), ("NEPHRITE_PIPELIN__TOP_K", "3"), ("NEPHRITE_BUS__URL", "x:")],
)
def test_the_environment_has_faults_too(name: str, value: str, tmp_path: Path) -> None:
    done = nephrite("pipeline", "--data-dir", tmp_path, changes={name: value})
    assert done.code == BAD_USAGE, done.err
    assert "Traceback" not in done.err
    assert len(done.errors) == 1, done.err


# Folders


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """A folder without write permission, and what to put before a command so that it is not run by root."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    if os.getuid():
        yield folder, ()
        return
    # No path down from pytest's own folder is open to others.
    shared = Path("/tmp") / f"nephrite-closed-{os.getpid()}"
    shared.mkdir(mode=0o555)
    try:
        yield (
            shared,
            (
                shutil.which("setpriv") or "setpriv",
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--clear-groups",
                "--no-new-privs",
                "--",
            ),
        )
    finally:
        shutil.rmtree(shared)


def arguments_of(command: str, capture: Path) -> list[str]:
    """What a command needs beside its data folder."""
    if command == "replay":
        return [str(capture)]
    return ["--listen", f"127.0.0.1:{free_port()}"] if command in ("up", "ingest") else []


@pytest.mark.parametrize("command", ["up", "ingest", "pipeline", "replay"])
def test_a_data_folder_without_write_permission(command: str, closed_folder: tuple[Path, Sequence[str]], capture: Path) -> None:
    folder, before = closed_folder
    target = folder / "data"
    done = nephrite(command, *arguments_of(command, capture), "--data-dir", target, before=before)
    assert_one_line(done, FAILED, str(folder), "Permission denied")
    assert files_below(folder) == set()


@pytest.mark.parametrize("command", ["up", "ingest", "pipeline", "replay", "exporters"])
def test_a_data_folder_that_is_a_file(command: str, capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("mine", encoding="utf-8")
    assert_one_line(nephrite(command, *arguments_of(command, capture), "--data-dir", target), FAILED, str(target))
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("question", [("exporters",), ("flows",), ("top", "hosts"), ("series",), ("retention",)])
def test_questions_to_a_folder_without_data(question: Sequence[str], tmp_path: Path) -> None:
    assert_one_line(nephrite(*question, "--data-dir", tmp_path / "none"), FAILED, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_output_files_that_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "none" / "a.pcap"
    short = ("generate", "small", "--rate", "5", "--duration", "1")
    assert_one_line(nephrite(*short, "--pcap", target), FAILED, str(target))
    fine = tmp_path / "a.pcap"
    assert_one_line(nephrite(*short, "--pcap", fine, "--expect", target), FAILED, str(target))


# Ports, servers, other writers


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{other.getsockname()[1]}"
        assert_one_line(
            nephrite("ingest", "--data-dir", tmp_path, "--listen", where), BAD_USAGE, where.rpartition(":")[2], "in use"
        )


def test_up_on_a_port_that_is_taken_ends_with_the_reason(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{other.getsockname()[1]}"
        done = nephrite("up", "--data-dir", tmp_path, "--listen", where)
    assert_one_line(done, BAD_USAGE, where.rpartition(":")[2], "in use")


@pytest.mark.parametrize("where", ["nonsense", "1.2.3.4", "127.0.0.1:x", "127.0.0.1:70000"])
def test_a_place_to_listen_that_is_none(where: str, tmp_path: Path) -> None:
    done = nephrite("up", "--data-dir", tmp_path, "--listen", where)
    assert_one_line(done, BAD_USAGE, "--listen", where)
    assert files_below(tmp_path) == set()


def test_a_second_up_on_one_data_folder(tmp_path: Path) -> None:
    with running("up", "--data-dir", tmp_path, "--listen", f"127.0.0.1:{free_port()}") as first:
        first.wait_for("pipeline ready")
        second = nephrite("up", "--data-dir", tmp_path, "--listen", f"127.0.0.1:{free_port()}")
        assert_one_line(second, FAILED, str(tmp_path), str(first.process.pid))
        assert first.process.poll() is None
        assert_one_line(nephrite("pipeline", "--data-dir", tmp_path), FAILED, str(tmp_path))


@pytest.mark.parametrize("command", ["pipeline", f"flink submit --documents {DEAD_KAFKA}", f"generate small --bus {DEAD_KAFKA}"])
def test_what_needs_a_kafka_that_is_not_there(command: str, tmp_path: Path) -> None:
    arguments = [] if "--bus" in command else ["--data-dir", str(tmp_path)]
    done = nephrite(*command.split(), *arguments, changes={"NEPHRITE_BUS__URL": DEAD_KAFKA})
    assert_one_line(done, FAILED, "127.0.0.1:9")


def test_ingest_goes_on_without_its_kafka_and_keeps_what_comes(tmp_path: Path) -> None:
    """docs: a broker that is away is no reason to lose datagrams; they are on disk when it comes back."""
    port = free_port()
    where = f"127.0.0.1:{port}"
    with running("ingest", "--data-dir", tmp_path, "--listen", where, changes={"NEPHRITE_BUS__URL": DEAD_KAFKA}) as ingest:
        ingest.wait_for("ready")
        made = nephrite("generate", "small", "--to", f"udp://{where}", "--rate", "50", "--duration", "1", "--speed", "max")
        assert made.code == 0, made.err
        wait_until(lambda: not octets_waiting(port), "ingest has read all")
        assert ingest.end() == 0
    assert not [line for line in ingest.lines if "Traceback" in line]
    assert sum(path.stat().st_size for path in files_below(tmp_path / "kafka-spool")) > 5_000


# Questions and options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top", "hosts", "--from", "yesterday"), "yesterday"),
        (("top", "hosts", "--from", "2026-13-01"), "2026-13-01"),
        (("flows", "--to", "-5x"), "-5x"),
        (("flows", "--from", "now", "--to", "-1h"), "--from"),
        (("flows", "--from", "9" * 40), "9" * 40),
        (("flows", "--from", "-" + "9" * 30 + "d"), "9" * 30),
        (("series", "--step", "7s"), "7s"),
        (("series", "--step", "0m"), "0m"),
        (("flows", "--host", "10.0.0.300"), "10.0.0.300"),
        (("top", "hosts", "--exporter", "router1"), "router1"),
    ],
)
def test_questions_that_are_none(arguments: Sequence[str], said: str, data_set: Path) -> None:
    assert_one_line(nephrite(*arguments, "--data-dir", data_set), BAD_USAGE, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top", "planets"), "planets"),
        (("top",), "applications"),
        (("flows", "--format", "xml"), "xml"),
        (("flows", "-n", "0"), "--limit"),
        (("top", "hosts", "-n", "10001"), "10000"),
        (("flows", "--interface", "-1"), "--interface"),
        (("flows", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("generate", "small", "--pcap", "x", "--rate", "0"), "--rate"),
    ],
)
def test_options_that_are_none(arguments: Sequence[str], said: str) -> None:
    assert_usage(nephrite(*arguments), said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense", "--pcap", "x.pcap"), "nonsense"),
        (("small", "--to", "127.0.0.1:9999"), "127.0.0.1:9999"),
        (("small", "--to", "udp://127.0.0.1:0"), "udp://127.0.0.1:0"),
        (("small",), "--pcap"),
        ((), "--list"),
        (("small", "--pcap", "x.pcap", "--start", "soon"), "soon"),
        (("small", "--bus", "carrier-pigeon:"), "carrier-pigeon"),
    ],
)
def test_scenarios_and_targets_that_are_none(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    assert_one_line(nephrite("generate", *arguments), BAD_USAGE, said)


# Output that nobody reads


@pytest.mark.parametrize(
    "arguments", [("flows", "--format", "ndjson", "-n", "1000000"), ("flows",), ("exporters", "--format", "json")]
)
def test_a_reader_that_goes_away(arguments: Sequence[str], data_set: Path) -> None:
    process = subprocess.Popen(
        [*NEPHRITE, *arguments, "--data-dir", str(data_set)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        said = errors.read().decode()
    assert process.wait(60) in (0, 1)
    assert "Traceback" not in said
    assert "Exception" not in said


# Noise on the port


def test_noise_and_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    noise = random.Random(3)
    with running("up", "--data-dir", tmp_path, "--listen", f"127.0.0.1:{port}") as up:
        up.wait_for("ready")
        up.wait_for("ready")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(500):
                head = (b"", b"\x00\x05", b"\x00\x09", b"\x00\x0a", b"\x00\x00\x00\x05")[number % 5]
                sender.sendto(head + noise.randbytes(noise.randrange(0, 1400)), ("127.0.0.1", port))
        assert up.end(signal.SIGINT) == 0
    assert not [line for line in up.lines if "Traceback" in line or "ended with code" in line]


@pytest.mark.parametrize("form", ["pcap", "udp"])
def test_ctrl_c_while_generating(form: str, tmp_path: Path) -> None:
    target = tmp_path / "a.pcap"
    to = ["--pcap", str(target), "--duration", "100000"] if form == "pcap" else ["--to", f"udp://127.0.0.1:{free_port()}"]
    service = Service("generate", "small", *to, "--expect", str(tmp_path / "e.json"))
    wait_until(lambda: reads_signals(service.process.pid), "the command is under way")
    assert service.end(signal.SIGINT) in (0, 1)
    assert not [line for line in service.lines if "Traceback" in line]
    assert not list(tmp_path.glob("*.part"))
    if target.exists():
        assert nephrite("decode", target, "-n", "1").code == 0


def test_ctrl_c_while_replaying(tmp_path: Path) -> None:
    capture = tmp_path / "a.pcap"
    assert nephrite("generate", "small", "--pcap", capture, "--rate", "400").code == 0
    service = Service("replay", capture, "--data-dir", tmp_path, "--into", "set")
    wait_until(lambda: (tmp_path / "replay" / "set").exists(), "replaying has begun")
    code = service.end(signal.SIGINT)
    assert code in (0, 1, 130)
    assert not [line for line in service.lines if "Traceback" in line]
    done = nephrite("replay", capture, "--data-dir", tmp_path, "--into", "set")
    assert done.code == 0, done.err


def reads_signals(pid: int) -> bool:
    """Whether a process has a handler of its own for SIGINT and SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
