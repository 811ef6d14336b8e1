"""The benchmark of ingest accounts for every datagram that its sender sent."""

import shutil
from pathlib import Path

import pytest

from bench.ingest import measure, peers


@pytest.mark.parametrize("protocol", ["v9", "sflow"])
def test_a_short_run_accounts_for_everything(protocol: str) -> None:
    result = measure(protocol, 20_000, 0.5)
    assert result.sent_datagrams == result.taken_datagrams + result.dropped_datagrams > 100
    assert result.flows > 2_000
    assert result.cpu_seconds_per_million_flows > 0


@pytest.mark.skipif(shutil.which("nfcapd") is None, reason="nfdump is not installed")
def test_peers_get_the_same_packets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nfcapd").symlink_to(str(shutil.which("nfcapd")))
    monkeypatch.setenv("PATH", str(tmp_path))
    (run,) = peers("v9", 20_000, 0.5)
    assert run.peer == "nfcapd"
    assert 100 < run.sent_datagrams - run.dropped_datagrams <= run.sent_datagrams
    assert run.cpu_seconds_per_million_flows >= 0
