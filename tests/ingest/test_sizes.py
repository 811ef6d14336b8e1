"""The quick estimate of a batch's octets against what Arrow says."""

import pyarrow as pa
import pytest

from ingest.sizes import Sizes
from tests.ingest.plain_flows import make_flows


@pytest.mark.parametrize("rows", [1, 100, 5000])
def test_the_estimate_is_near_and_never_less(rows: int) -> None:
    flows = make_flows(rows)
    lists = pa.array([[1, 2]] * rows, pa.list_(pa.uint32()))
    sizes = Sizes()
    for batch in (flows, flows.append_column("mpls_labels", lists), flows):
        assert batch.nbytes <= sizes.octets(batch) <= batch.nbytes * 1.1 + 64


def test_nothing_is_nothing() -> None:
    assert Sizes().octets(make_flows(0)) <= 64
