"""Counters, addresses and options: small leaves by literals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import format_address, pack_address
from common.errors import UsageError
from common.metrics import METRICS, Counters
from common.options import listener_of


def test_counters_know_their_names_and_labels() -> None:
    counters = Counters()
    counters.add("ingest_problems_total", 2, reason="truncated")
    counters.add("ingest_problems_total", reason="padding")
    counters.add("ingest_batches_total", 0)
    assert counters.as_map() == {
        'ingest_problems_total{reason="padding"}': 1,
        'ingest_problems_total{reason="truncated"}': 2,
    }
    assert counters.sum("ingest_problems_total") == 3
    assert counters.value("ingest_problems_total", reason="truncated") == 2


def test_what_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        Counters().add("nobody_documents_this")
    with pytest.raises(ValueError, match="has labels"):
        Counters().add("ingest_problems_total", exporter="192.0.2.1")


def test_metric_names_are_unique_and_end_by_kind() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert [metric.name for metric in METRICS if metric.kind == "counter" and not metric.name.endswith("_total")] == []


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("192.0.2.1", bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("::", bytes(16)),
    ],
)
def test_addresses(text: str, packed: bytes) -> None:
    assert pack_address(text) == packed
    assert format_address(packed) == text


@given(st.binary(min_size=16, max_size=16))
def test_every_address_comes_back(packed: bytes) -> None:
    assert pack_address(format_address(packed)) == packed


@pytest.mark.parametrize("text", ["[::1:5", "::1]:5", "host", "host:", "host:65536", "host:x"])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        listener_of(text)


def test_places_to_listen() -> None:
    assert [(place.host, place.port) for place in map(listener_of, ("[::1]:5", "9999", "127.0.0.1:0"))] == [
        ("::1", 5),
        ("0.0.0.0", 9999),
        ("127.0.0.1", 0),
    ]
