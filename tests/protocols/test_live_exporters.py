"""Exporters from Debian's packages meter a capture; the totals of each flow are those of the capture."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.addresses import format_address
from common.config import Ingest
from common.metrics import Counters
from ingest.decoder import Datagram, Decoder
from tests.protocols.live_exporters import FlowKey, Traffic, find_program, run_exporter, write_traffic
from tests.protocols.wire import EXPORTER
from tests.servers.fixtures import leave_out
from tests.servers.registry import REGISTRY

pytestmark = [pytest.mark.server("exporters"), pytest.mark.slow]


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.bind(("127.0.0.1", 0))
        yield udp


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return write_traffic(tmp_path_factory.mktemp("traffic"))


def _program(request: pytest.FixtureRequest, name: str, package: str) -> str:
    registry = request.config.stash[REGISTRY]
    found = find_program(name)
    if found is None:
        leave_out(registry, "exporters", f"{name} is not installed (Debian: apt-get install {package})")
    registry.used["exporters"] = "exporters"
    return found


def _decode(payloads: list[bytes]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    counters = Counters()
    decoder = Decoder(Ingest(), 16, counters)
    for number, payload in enumerate(payloads):
        decoder.feed(Datagram(EXPORTER, 1_700_000_000_000 + number, payload))
    rows = [row for batch in decoder.drain().values() for row in batch.to_pylist()]
    reports = [report for lane in decoder.reports(1_700_000_100_000).values() for report in lane]
    lost = {key: value for key, value in counters.as_map().items() if "problems" in key and "unknown_element" not in key}
    missing = sum(sequence.missing + sequence.restarts for report in reports for sequence in report.sequences)
    return rows, lost | ({"missing": missing} if missing else {})


def _holds(traffic: Traffic) -> Callable[[list[bytes]], bool]:
    """Whether datagrams have as many packets as the traffic; more than that is seen when nothing else comes."""
    wanted = sum(traffic.packets.values())
    return lambda payloads: sum(_sums(_decode(payloads)[0], "packets").values()) >= wanted


def _sums(rows: list[dict[str, Any]], measure: str) -> dict[FlowKey, int]:
    sums: Counter[FlowKey] = Counter()
    for row in rows:
        ends = format_address(row["src_addr"]), format_address(row["dst_addr"])
        sums[(*ends, row["src_port"], row["dst_port"], row["protocol"])] += int(row[measure] * (row.get("sampling_interval") or 1))
    return dict(sums)


@pytest.mark.parametrize("version", ["5", "9", "10"])
def test_softflowd(
    version: str, collector: socket.socket, traffic: Traffic, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program = _program(request, "softflowd", "softflowd")
    port = collector.getsockname()[1]
    (tmp_path / "in.pcap").symlink_to(traffic.capture)  # it cuts longer paths
    arguments = ["-r", "in.pcap", "-n", f"127.0.0.1:{port}", "-v", version, "-d", "-p", "pid", "-c", "control"]
    payloads = run_exporter([program, *arguments], collector, tmp_path, _holds(traffic))
    rows, lost = _decode(payloads)
    assert (_sums(rows, "bytes"), _sums(rows, "packets")) == (traffic.octets, traffic.packets)
    assert lost == {}


_PMACCTD = """
daemonize: false
pcap_savefile: {capture}
plugin_pipe_size: 4096000
plugins: {plugin}[one]
aggregate[one]: src_host, dst_host, src_port, dst_port, proto, tos
{settings}
"""


@pytest.mark.parametrize("version", ["5", "9", "10"])
def test_pmacctd_nfprobe(
    version: str, collector: socket.socket, traffic: Traffic, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = f"nfprobe_receiver[one]: 127.0.0.1:{collector.getsockname()[1]}\nnfprobe_version[one]: {version}"
    rows, lost = _decode(_pmacctd(request, collector, traffic, tmp_path, "nfprobe", settings))
    assert (_sums(rows, "bytes"), _sums(rows, "packets")) == (traffic.octets, traffic.packets)
    assert lost == {}


def test_pmacctd_sfprobe(collector: socket.socket, traffic: Traffic, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    settings = f"sfprobe_receiver[one]: 127.0.0.1:{collector.getsockname()[1]}\nsampling_rate[one]: 1"
    rows, lost = _decode(_pmacctd(request, collector, traffic, tmp_path, "sfprobe", settings))
    assert (_sums(rows, "bytes"), _sums(rows, "packets")) == (traffic.octets, traffic.packets)
    assert lost == {}


def _pmacctd(
    request: pytest.FixtureRequest, collector: socket.socket, traffic: Traffic, folder: Path, plugin: str, settings: str
) -> list[bytes]:
    program = _program(request, "pmacctd", "pmacct")
    configuration = folder / "pmacctd.conf"
    configuration.write_text(_PMACCTD.format(capture=traffic.capture, plugin=plugin, settings=settings))
    return run_exporter([program, "-f", str(configuration)], collector, folder, _holds(traffic))
