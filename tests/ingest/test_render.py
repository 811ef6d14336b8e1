"""Records as text, in every form."""

import csv
import io
import json

import pyarrow as pa
import pytest

from ingest.render import Format, row_writer, rows_of
from tests.ingest.plain_flows import make_flows

NAMES = ["exporter_addr", "received_ms", "src_mac", "application_id", "extras", "sampling_interval", "tos"]


def batch() -> pa.RecordBatch:
    flows = make_flows(2)
    extra = [{"pen": 9, "id": 12_235, "value": b"\x01\x02"}]
    return pa.RecordBatch.from_arrays(
        [
            flows.column("exporter_addr"),
            pa.array([1_700_000_000_123, 1 << 61]),
            pa.array([bytes(range(6)), None], pa.binary(6)),
            pa.array([b"\x0d\x00\x01", None], pa.binary()),
            pa.array([extra, None], pa.list_(pa.struct([("pen", pa.uint32()), ("id", pa.uint16()), ("value", pa.binary())]))),
            pa.array([100.0, None]),
        ],
        names=NAMES[:-1],
    )


def render(form: Format, pieces: int = 1) -> str:
    out = io.StringIO()
    writer = row_writer(form, NAMES, out)
    rows = rows_of(batch(), NAMES)
    for piece in range(pieces):
        writer.write(rows[piece::pieces])
    writer.close()
    return out.getvalue()


FIRST = {
    "exporter_addr": "10.0.0.0",
    "received_ms": 1_700_000_000_123,
    "src_mac": "00:01:02:03:04:05",
    "application_id": "0d0001",
    "extras": [{"pen": 9, "id": 12_235, "value": "0102"}],
    "sampling_interval": 100.0,
}
SECOND = {"exporter_addr": "10.0.0.0", "received_ms": 1 << 61}


@pytest.mark.parametrize("pieces", [1, 2])
def test_programs_read_back_what_was_written(pieces: int) -> None:
    assert json.loads(render(Format.JSON, pieces)) == [FIRST, SECOND]
    assert [json.loads(line) for line in render(Format.NDJSON, pieces).splitlines()] == [FIRST, SECOND]
    header, first, second = csv.reader(io.StringIO(render(Format.CSV, pieces)))
    assert header == NAMES
    assert first == ["10.0.0.0", "1700000000123", "00:01:02:03:04:05", "0d0001", json.dumps(FIRST["extras"]), "100.0", ""]
    assert second == ["10.0.0.0", str(1 << 61), "", "", "", "", ""]


def test_people_see_times_and_dashes_in_straight_columns() -> None:
    header, first, second = render(Format.TABLE).splitlines()
    assert "2023-11-14 22:13:20.123" in first
    assert second.split() == ["10.0.0.0", str(1 << 61), "-", "-", "-", "-", "-"]
    assert header.index("tos") == first.rindex("-") == second.rindex("-")


@pytest.mark.parametrize(
    ("form", "text"),
    [(Format.JSON, "[]\n"), (Format.NDJSON, ""), (Format.CSV, ",".join(NAMES) + "\n"), (Format.TABLE, "  ".join(NAMES) + "\n")],
)
def test_no_records_are_a_valid_document_too(form: Format, text: str) -> None:
    out = io.StringIO()
    row_writer(form, NAMES, out).close()
    assert out.getvalue() == text
