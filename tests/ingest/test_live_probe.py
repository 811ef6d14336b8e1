"""A probe from Debian's packages watching the loopback device, its export sent to the service: fprobe, NetFlow v5 and v7."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.ingest.test_service import memory, running, settings_in, until

OCTETS = 100
HEADERS = 28

pytestmark = pytest.mark.skipif(
    shutil.which("fprobe") is None or os.geteuid() != 0, reason="fprobe is not installed, or may not watch the loopback device"
)


@pytest.mark.slow
@pytest.mark.parametrize("version", [5, 7])
def test_fprobe(tmp_path: Path, version: int) -> None:
    producer, entries = memory()
    with running(settings_in(tmp_path), producer) as service, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        watched = target.getsockname()[1]
        collector = f"127.0.0.1:{service.addresses[0][1]}"
        timers = ["-s", "1", "-d", "1", "-e", "5", "-l", "2", "-n", str(version), "-p"]
        command = ["fprobe", "-i", "lo", "-f", f"udp and dst port {watched}", *timers, collector]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as probe:
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:

                    def seen() -> bool:
                        udp.sendto(bytes(OCTETS), ("127.0.0.1", watched))
                        return entries.flows() > 0

                    until(seen)
            finally:
                probe.terminate()
    flows = [row for header, columns in entries.all() if header.flow_count for row in columns.to_pylist()]
    assert {(row["protocol_version"], row["protocol"], row["dst_port"]) for row in flows} == {(version, 17, watched)}
    assert all(row["bytes"] == row["packets"] * (OCTETS + HEADERS) for row in flows)
    assert service.counters.sum("ingest_problems_total") == 0
