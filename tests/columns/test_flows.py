"""Batches as they come: missing columns, dictionaries of their own, slices."""

import numpy as np
import pyarrow as pa

from columns.flows import read_flows
from columns.lane import Limits
from tests.columns.flows import NOW, batch
from tests.columns.oracle import Flow

FLOWS = [
    Flow(NOW + i, NOW, exporter_addr=bytes([9 - i] * 16), src_addr=bytes([i] * 16), application=text, protocol=i, bytes=i)
    for i, text in enumerate(["b", None, "a"])
]


def test_batches_with_other_columns_and_dictionaries_are_joined() -> None:
    flows = read_flows([batch(FLOWS[:1], True), batch([Flow(NOW, NOW)], True), batch(FLOWS, True)], Limits())
    assert flows.applications == ("a", "b")
    assert flows.application.tolist() == [2, 0, 2, 0, 1]
    assert flows.protocol.tolist() == [1, 0, 1, 2, 3]
    assert flows.bytes.tolist() == [0, 0, 0, 1, 2]
    assert flows.direction.tolist() == [255] * 5
    assert flows.interval is None
    octets = [flows.addresses[code - 1].astype(">u8").tobytes() if code else None for code in flows.source.tolist()]
    assert octets == [bytes(16), None, bytes(16), b"\x01" * 16, b"\x02" * 16]
    assert flows.exporter[0] == flows.exporter[2] != flows.exporter[1]


def test_slices_are_read_from_their_offset() -> None:
    flows = read_flows([batch(FLOWS).slice(1), batch(FLOWS).slice(2, 1)], Limits())
    assert flows.last_switched_ms.tolist() == [NOW + 1, NOW + 2, NOW + 2]
    assert [flows.applications[code - 1] if code else None for code in flows.application.tolist()] == [None, "a", "a"]


def test_nulls_among_the_values_of_a_dictionary_are_nulls() -> None:
    indices = pa.array([0, 1, None, 2], pa.int32())
    texts = pa.DictionaryArray.from_arrays(indices, pa.array(["x", None, "y"]))
    addresses = pa.DictionaryArray.from_arrays(indices, pa.array([b"\x01" * 16, None, b"\x02" * 16], pa.binary(16)))
    odd = pa.RecordBatch.from_arrays([texts, addresses], names=["application", "src_addr"])
    plain = batch([*FLOWS, FLOWS[0]]).drop_columns(["application", "src_addr"])
    joined = pa.RecordBatch.from_arrays([*plain.columns, *odd.columns], names=[*plain.schema.names, *odd.schema.names])
    for batches in ([joined], [joined, joined]):
        flows = read_flows(batches, Limits())
        assert flows.application.tolist() == [1, 0, 0, 2] * len(batches)
        assert np.array_equal(flows.source > 0, np.array([True, False, False, True] * len(batches)))
