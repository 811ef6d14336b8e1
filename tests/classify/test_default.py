"""The default rules: IANA's services for either end, the first in the registry wins."""

from collections.abc import Sequence

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from columns.classify import default_classifier
from columns.registries import protocol_numbers, services
from flowpb.schema import BY_NAME

_PORT = st.none() | st.integers(0, 3000) | st.integers(0, 65_535)
_FLOW = st.tuples(st.sampled_from([None, 1, 6, 17, 33, 132]), _PORT, _PORT)


def _flows(rows: Sequence[tuple[int | None, int | None, int | None]]) -> pa.RecordBatch:
    names = ("protocol", "src_port", "dst_port")
    return pa.RecordBatch.from_arrays(
        [pa.array([row[place] for row in rows], BY_NAME[name].type) for place, name in enumerate(names)], names=list(names)
    )


def _plain(protocol: int | None, src_port: int | None, dst_port: int | None) -> str | None:
    ports = (src_port, dst_port)
    return next((each.name for each in services() if each.protocol == protocol and each.port in ports), None)


@given(st.lists(_FLOW, max_size=20))
def test_equals_the_plain_matcher(rows: list[tuple[int | None, int | None, int | None]]) -> None:
    assert default_classifier().applications(_flows(rows)).to_pylist() == [_plain(*row) for row in rows]


def test_known_services() -> None:
    rows = [(6, 50_000, 443), (6, 443, 50_000), (17, 53, 40_000), (6, 443, 80), (1, 443, 80), (6, 60_001, 60_002)]
    assert default_classifier().applications(_flows(rows)).to_pylist() == ["https", "https", "domain", "http", None, None]


def test_absent_columns_match_nothing() -> None:
    flows = pa.RecordBatch.from_arrays([pa.array([6, 6], pa.uint8())], names=["protocol"])
    assert default_classifier().applications(flows).to_pylist() == [None, None]


def test_dictionary_has_only_names_in_use() -> None:
    found = default_classifier().applications(_flows([(6, 1, 443), (6, 9, 443)]))
    assert found.type == BY_NAME["application"].type
    assert found.dictionary.to_pylist() == ["tcpmux", "discard"]


def test_registries() -> None:
    assert len(services()) == 11_488
    assert protocol_numbers()["argus"] == 13
    assert protocol_numbers()["ipv6-icmp"] == 58
