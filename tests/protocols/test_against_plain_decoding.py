"""Columns by structure against the plainest decoding there is: one field of one record after the other, in order of arrival."""

from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import given

from flowpb.schema import BY_NAME
from tests.protocols.wire import EXPORTER, OTHER, Line, ipfix, put, template

_COLUMNS: Final = {
    1: "bytes",
    2: "packets",
    4: "protocol",
    5: "tos",
    6: "tcp_flags",
    7: "src_port",
    11: "dst_port",
    10: "in_if",
    14: "out_if",
    16: "src_as",
    17: "dst_as",
    234: "vrf_in",
    235: "vrf_out",
    89: "forwarding_status",
    136: "flow_end_reason",
}
_TEXT: Final = 371
_SKIPPED: Final = 210
_VARIABLE: Final = 65535
Fields = tuple[tuple[int, int], ...]

_field = st.one_of(
    st.tuples(st.sampled_from(sorted(_COLUMNS)), st.integers(1, 8)),
    st.tuples(st.just(_SKIPPED), st.integers(1, 20)),
    st.tuples(st.just(_TEXT), st.just(_VARIABLE)),
)
_fields = st.lists(_field, min_size=1, max_size=8).map(tuple)


@st.composite
def _message(draw: st.DrawFn, templates: tuple[Fields, ...]) -> tuple[bytes, list[tuple[int, list[bytes]]]]:
    """An exporter, and records of some templates as lists of octets per field."""
    exporter = draw(st.sampled_from((EXPORTER, OTHER)))
    records = []
    for _ in range(draw(st.integers(1, 6))):
        number = draw(st.integers(0, len(templates) - 1))
        values = [
            draw(st.binary(max_size=300) if length == _VARIABLE else st.binary(min_size=length, max_size=length))
            for _, length in templates[number]
        ]
        records.append((number, values))
    return exporter, records


def _octets(fields: Fields, values: list[bytes]) -> bytes:
    parts = []
    for (_, length), value in zip(fields, values, strict=True):
        if length == _VARIABLE:
            parts.append(bytes([len(value)]) if len(value) < 255 else b"\xff" + len(value).to_bytes(2))
        parts.append(value)
    return b"".join(parts)


def _expected(fields: Fields, values: list[bytes]) -> dict[str, int]:
    row: dict[str, int] = {}
    for (element, _), value in zip(fields, values, strict=True):
        if element in _COLUMNS:
            width = BY_NAME[_COLUMNS[element]].type.bit_width // 8
            row.setdefault(_COLUMNS[element], int.from_bytes(value[-width:]))
    return row


def _seen(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in _COLUMNS.values() if row.get(name) is not None}


@given(st.data())
def test_all_records_have_the_values_that_plain_decoding_finds(data: st.DataObject) -> None:
    templates = tuple(data.draw(st.lists(_fields, min_size=1, max_size=3)))
    messages = data.draw(st.lists(_message(templates), min_size=1, max_size=6))
    line = Line()
    for exporter in (EXPORTER, OTHER):
        line.feed(ipfix(*(template(256 + number, fields, True) for number, fields in enumerate(templates))), exporter=exporter)
    expected: dict[bytes, list[dict[str, int]]] = {EXPORTER: [], OTHER: []}
    sequence = {EXPORTER: 0, OTHER: 0}
    for exporter, records in messages:
        sets = [put(256 + number, _octets(templates[number], values)) for number, values in records]
        line.feed(ipfix(*sets, sequence=sequence[exporter]), exporter=exporter)
        sequence[exporter] += len(records)
        expected[exporter] += [_expected(templates[number], values) for number, values in records]
    rows = line.rows()
    for exporter, wanted in expected.items():
        assert [_seen(row) for row in rows if row["exporter_addr"] == exporter] == wanted
    assert line.problems() == {}
