"""The benchmark of ingest accounts for every datagram that its sender sent."""

import shutil
from pathlib import Path

import pytest

from bench.ingest import measure, peers
from bench.ingest_table import bisect, is_senders_limit, put_into


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


@pytest.mark.parametrize("limit", [90_001, 250_000, 1_199_000])
def test_bisecting_rates_comes_near_the_limit_and_stays_below(limit: float) -> None:
    found = bisect(90_000, 1_200_000, 8, lambda rate: rate <= limit)
    assert limit * 0.98 <= found * 1.011
    assert found <= max(limit, 90_000)


def test_a_rate_is_the_senders_limit_only_where_the_sender_failed_next() -> None:
    assert is_senders_limit(90_000, {300_000: True})
    assert is_senders_limit(200_000, {300_000: True, 400_000: False})
    assert not is_senders_limit(90_000, {150_000: False, 300_000: True})
    assert not is_senders_limit(200_000, {200_000: False, 300_000: True})
    assert not is_senders_limit(90_000, {})


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    put_into(page, "| new |")
    assert page.read_text() == "before\n<!-- table -->\n| new |\n<!-- end -->\nafter\n"
