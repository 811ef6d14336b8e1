"""Applications as exporters name them."""

import pyarrow as pa
import pytest

from columns.exported import exported_applications, name_of_id
from flowpb.schema import BY_NAME, TEXT


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (b"\x03\x01\xbb", "https"),
        (b"\x03\x00\x00\x01\xbb", "https"),
        (b"\x01\x06", "tcp"),
        (b"\x01\xff", "reserved"),
        (b"\x0d\x00\x00\x01", None),
        (b"\x03\xff\xff", None),
        (b"\x03", None),
        (b"", None),
    ],
)
def test_ids_that_speak_for_themselves(identifier: bytes, name: str | None) -> None:
    assert name_of_id(identifier) == name


def _flows(**columns: list[object]) -> pa.RecordBatch:
    arrays = []
    for name, values in columns.items():
        wanted = BY_NAME[name].type
        arrays.append(pa.array(values, pa.string()).dictionary_encode().cast(TEXT) if wanted == TEXT else pa.array(values, wanted))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def test_the_name_before_the_id() -> None:
    ids: list[object] = [b"\x03\x01\xbb", b"\x03\x01\xbb", None, b"\x0d\x01", None]
    names: list[object] = ["webex", None, "zoom", None, None]
    found = exported_applications(_flows(application_id=ids, application_name=names))
    assert found is not None
    assert (found.type, found.to_pylist()) == (TEXT, ["webex", "https", "zoom", None, None])
    alone = exported_applications(_flows(application_id=ids))
    assert alone is not None
    assert (alone.type, alone.to_pylist()) == (TEXT, ["https", "https", None, None, None])


def test_neither() -> None:
    assert exported_applications(_flows(src_port=[1])) is None
