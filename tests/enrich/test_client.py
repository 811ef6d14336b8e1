"""Which end asked."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.client import client_column
from common.addresses import pack_address
from flowpb.schema import ADDRESS, BY_NAME, Client

_NAMES = ("exporter_addr", "src_addr", "src_port", "dst_addr", "dst_port", "protocol", "first_switched_ms")
_HOST = st.sampled_from([None, "10.0.0.1", "10.0.0.2"])
_PORT = st.sampled_from([None, 443, 60_001, 60_002])
Row = tuple[str | None, str | None, int | None, str | None, int | None, int | None, int]
_ROW = st.tuples(
    st.sampled_from(["192.0.2.1", "192.0.2.2"]), _HOST, _PORT, _HOST, _PORT, st.sampled_from([6, 17, 1]), st.integers(0, 3)
)


def _flows(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = []
    for name, values in zip(_NAMES, zip(*rows, strict=True), strict=True):
        if BY_NAME[name].type == ADDRESS:
            packed = [None if value is None else pack_address(str(value)) for value in values]
            columns.append(pa.array(packed, pa.binary(16)).dictionary_encode().cast(ADDRESS))
        else:
            columns.append(pa.array(values, BY_NAME[name].type))
    return pa.RecordBatch.from_arrays(columns, names=list(_NAMES))


def _plain(row: Row, rows: Sequence[Row]) -> Client | None:
    """By port, else by the first flow of either direction that the same exporter saw."""
    exporter, source, src_port, destination, dst_port, protocol, _ = row
    if protocol == 1:
        return None
    if (src_port == 443) != (dst_port == 443):
        return Client.DESTINATION if src_port == 443 else Client.SOURCE
    if None in (source, destination, src_port, dst_port) or (source, src_port) == (destination, dst_port):
        return None
    there = [each[6] for each in rows if each[:6] == row[:6]]
    back = [each[6] for each in rows if each[:6] == (exporter, destination, dst_port, source, src_port, protocol)]
    if not back or min(there) == min(back):
        return None
    return Client.SOURCE if min(there) < min(back) else Client.DESTINATION


@given(st.lists(_ROW, min_size=1, max_size=12))
def test_ports_then_the_first_seen_as_a_plain_search_says(rows: list[Row]) -> None:
    assert client_column(_flows(rows)).to_pylist() == [_plain(row, rows) for row in rows]


def test_the_first_seen_asked() -> None:
    one, other = ("192.0.2.1", "10.0.0.1", 60_001, "10.0.0.2", 60_002, 6), ("192.0.2.1", "10.0.0.2", 60_002, "10.0.0.1", 60_001, 6)
    rows = [(*one, 1000), (*other, 1001), (*one, 1002), ("192.0.2.2", *one[1:], 1)]
    assert client_column(_flows(rows)).to_pylist() == [Client.SOURCE, Client.DESTINATION, Client.SOURCE, None]


@pytest.mark.parametrize(
    ("protocol", "src_port", "dst_port", "client"),
    [
        (6, 50_000, 443, Client.SOURCE),
        (6, 443, 50_000, Client.DESTINATION),
        (17, 53, 8080, Client.DESTINATION),
        (6, 8080, 60_001, Client.DESTINATION),
        (6, 60_001, 60_002, None),
        (17, 123, 123, None),
        (6, 22, 443, None),
        (1, 0, 771, None),
        (6, None, 80, Client.SOURCE),
        (6, None, None, None),
        (None, 50_000, 443, None),
    ],
)
def test_the_end_without_a_service_asked(
    protocol: int | None, src_port: int | None, dst_port: int | None, client: Client | None
) -> None:
    names = ("protocol", "src_port", "dst_port")
    values = (protocol, src_port, dst_port)
    columns = [pa.array([value], BY_NAME[name].type) for name, value in zip(names, values, strict=True)]
    found = client_column(pa.RecordBatch.from_arrays(columns, names=list(names)))
    assert found.type == BY_NAME["client"].type
    assert found.to_pylist() == [client]
