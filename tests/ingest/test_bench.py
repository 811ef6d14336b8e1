"""The benchmark of ingest accounts for every datagram that its sender sent."""

import pytest

from bench.ingest import measure


@pytest.mark.parametrize("protocol", ["v9", "sflow"])
def test_a_short_run_accounts_for_everything(protocol: str) -> None:
    result = measure(protocol, 20_000, 0.5)
    assert result.sent_datagrams == result.taken_datagrams + result.dropped_datagrams > 100
    assert result.flows > 2_000
    assert result.cpu_seconds_per_million_flows > 0
