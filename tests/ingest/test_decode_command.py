"""`nephrite decode` and `nephrite ingest` as commands: forms, columns, counts on standard error, one-line errors."""

import csv
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bus.open import open_source
from common.config import Bus
from common.errors import ConfigError, InputError, UsageError
from common.options import listener_of
from flowpb.codec import decode_header
from ingest.commands import app_commands
from tests.ingest.packets import v5, v9_flows, v9_template
from tests.ingest.test_replay_of_captures import write
from tests.protocols.sflow_wire import ethernet_ipv4_tcp, flow_sample, item, raw_header, sflow

COMMAND = "import typer, ingest.commands as c; app = typer.Typer(); c.app_commands(app); app()"
ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app_commands(app)
    return CliRunner().invoke(app, ["decode", *arguments])


@pytest.fixture
def capture(tmp_path: Path) -> str:
    packets = [(0, v9_template()), (1, v9_flows(3)), (2, v9_flows(2, 2, domain=9)), (3, v5(4)), (4, b"??")]
    return str(write(tmp_path / "a.pcap", [(float(at), payload) for at, payload in packets]))


def test_people_get_a_table_and_the_counts(capture: str) -> None:
    done = run(capture)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 7
    assert lines[0].split()[:2] == ["exporter_addr", "protocol_version"]
    assert lines[1].split()[:2] == ["10.0.0.1", "9"]
    assert done.stderr.splitlines() == ["5 datagrams, 7 flows, 0 option records; problems: template_missing 1, unknown_protocol 1"]


def test_programs_get_all_columns(capture: str) -> None:
    rows = json.loads(run(capture, "--format", "json").stdout)
    assert [row["bytes"] for row in rows] == [100] * 7
    assert rows[0]["src_addr"] == "10.0.0.1"
    lines = run(capture, "--format", "ndjson", "--limit", "2").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows[:2]


def test_records_come_in_the_order_of_the_capture(tmp_path: Path) -> None:
    packets = [(float(n), v5(1, n)) if n % 2 else (float(n), v9_template() if n == 0 else v9_flows(1, n)) for n in range(8)]
    rows = json.loads(run(str(write(tmp_path / "mixed.pcap", packets)), "--format", "json").stdout)
    times = [row["received_ms"] for row in rows]
    assert times == sorted(times)
    assert [row["protocol_version"] for row in rows] == [5, 9, 5, 9, 5, 9, 5]


def test_chosen_columns_as_csv(capture: str) -> None:
    done = run(capture, "--format", "csv", "--columns", "dst_port,packets", "-n", "1")
    assert list(csv.reader(io.StringIO(done.stdout))) == [["dst_port", "packets"], ["80", "2"]]


def test_templates_problems_and_options(capture: str) -> None:
    (template,) = json.loads(run(capture, "--templates", "--format", "json").stdout)
    assert (template["exporter"], template["domain"], template["template_id"]) == ("10.0.0.1", 1, 256)
    assert template["fields"][0] == "sourceIPv4Address[4]"
    problems = json.loads(run(capture, "--problems", "--format", "json").stdout)
    assert [problem["reason"] for problem in problems] == ["template_missing", "unknown_protocol"]
    assert problems[0]["text"] == "waiting for template 256 of domain 9"
    assert json.loads(run(capture, "--options", "--format", "json").stdout) == []


def test_counters_and_paths_of_sflow(tmp_path: Path) -> None:
    path = struct.pack(">IIIIII", 1, 2, 2, 65010, 65011, 0) + struct.pack(">I", 90)
    gateway = item(1003, struct.pack(">I4sIII", 1, bytes(4), 1, 2, 3) + path)
    octets = struct.pack(">IIQIIQ6IQ6II", 7, 6, 10**9, 1, 3, 5000, *[0] * 6, 6000, *[0] * 7)
    samples = flow_sample(raw_header(ethernet_ipv4_tcp()), gateway), item(2, struct.pack(">III", 1, 7, 1) + item(1, octets))
    capture = str(write(tmp_path / "sflow.pcap", [(1.0, sflow(*samples))]))
    (reading,) = json.loads(run(capture, "--counters", "--format", "json").stdout)
    assert (reading["exporter"], reading["received_ms"], reading["domain"]) == ("10.0.0.1", 1_700_000_001_000, 3)
    assert [reading[name] for name in ("if_index", "speed", "in_octets", "out_octets")] == [7, 10**9, 5000, 6000]
    (flow,) = json.loads(run(capture, "--format", "json").stdout)
    assert (flow["as_path"], flow["dst_communities"], flow["local_pref"]) == ([65010, 65011], [], 90)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--columns", "bytes,colour"], UsageError, "no column colour; there are received_ms"),
        (["--options", "--problems"], UsageError, "cannot be combined"),
        (["--config", "/nowhere.yaml"], ConfigError, "/nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_usage_is_one_line(capture: str, arguments: list[str], error: type[Exception], words: str) -> None:
    done = run(capture, *arguments)
    assert isinstance(done.exception, error)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_files_that_are_no_captures(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pcap"):
        done = run(str(path))
        assert isinstance(done.exception, InputError)
        assert str(path) in str(done.exception)


def test_a_cut_file_gives_what_it_has_then_says_so(capture: str) -> None:
    path = Path(capture)
    path.write_bytes(path.read_bytes()[:-1])
    done = run(capture, "--format", "ndjson")
    assert len(done.stdout.splitlines()) == 7
    assert done.stderr.startswith(f"warning: {capture}: the file ends in the middle of a frame")
    assert "capture_cut_off 1" in done.stderr


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:2055", "127.0.0.1", 2055), ("[::1]:0", "::1", 0), ("9999", "0.0.0.0", 9999), (":4739", "0.0.0.0", 4739)],
)
def test_listen_option(text: str, host: str, port: int) -> None:
    assert (listener_of(text).host, listener_of(text).port) == (host, port)


@pytest.mark.parametrize("text", ["", "host", "host:http", "1.2.3.4:70000"])
def test_listen_option_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        listener_of(text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_listens_and_flushes_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "ingest", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/proto"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        ready = process.stderr.readline()
        assert ready.startswith("ingest ready: udp://127.0.0.1:")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(v5(24), ("127.0.0.1", int(ready.rsplit(":", 1)[1])))
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    source = open_source(Bus(), tmp_path)
    headers = [decode_header(e.value)[0] for p in range(source.partitions) for e in source.read(p, 0, 1 << 30)]
    source.close()
    assert sum(header.flow_count for header in headers) == 24
