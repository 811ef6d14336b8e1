"""Which end asked."""

import pyarrow as pa
import pytest

from columns.client import client_column
from flowpb.schema import BY_NAME, Client


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
