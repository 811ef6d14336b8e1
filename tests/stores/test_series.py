"""Time series: which points, how they look on the wire to a strict receiver, and what happens while it is away."""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

import cramjam
import pyarrow as pa
import pytest

from common.config import Series as Settings
from common.errors import OutletError
from flowpb.documents import AGGREGATE_SCHEMA
from pipelines.series_sink import WriteSeries, receivers_of
from stores.series.graphite import Graphite, line
from stores.series.outlet import Outlet
from stores.series.points import Point, Series, points_of
from stores.series.remote_write import RemoteWrite, labels_of
from tests.bus.buses import eventually
from transforms.carried_state import Stepped

END_MS: Final = 1_700_000_100_000
BASE: Final[dict[str, Any]] = {
    "window_end_ms": END_MS, "grouped_by": "EXPORTER_INTERFACE", "aggregation_type": "TOTAL", "exporter_addr": "192.0.2.1",
    "if_index": 3, "final": True, "bytes_ingress": 10, "bytes_egress": 20, "packets_ingress": 1, "packets_egress": 2,
    "flows_ingress": 3, "flows_egress": 4,
}  # fmt: skip
BY_APPLICATION: Final = BASE | {"grouped_by": "EXPORTER_INTERFACE_APPLICATION", "aggregation_type": "TOPK"}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=AGGREGATE_SCHEMA)


def point(application: str = "", value: int = 7, interface: int = 3) -> Point:
    return Point(Series("lab a", "2001:db8::1", interface, application, "in", "bytes"), END_MS, value)


def test_final_totals_and_applications_are_points() -> None:
    rows = (
        BASE,
        BASE | {"final": False},
        BASE | {"grouped_by": "EXPORTER_INTERFACE_HOST", "aggregation_type": "TOPK"},
        BY_APPLICATION | {"application": "https", "location": "lab"},
        BY_APPLICATION | {"application": None},
        BY_APPLICATION | {"aggregation_type": "OTHER"},
    )
    found = list(points_of(table(*rows)))
    assert [(p.series.application, p.series.direction, p.series.counter, p.value) for p in found] == [
        ("", "in", "bytes", 10), ("", "out", "bytes", 20), ("", "in", "packets", 1), ("", "out", "packets", 2),
        ("", "in", "flows", 3), ("", "out", "flows", 4), ("https", "in", "bytes", 10), ("https", "out", "bytes", 20),
        ("Unknown", "in", "bytes", 10), ("Unknown", "out", "bytes", 20),
        ("Other", "in", "bytes", 10), ("Other", "out", "bytes", 20),
    ]  # fmt: skip
    assert {p.time_ms for p in found} == {END_MS}
    assert (found[6].series.location, found[0].series.location) == ("lab", "")


def test_what_has_one_name_at_a_receiver_is_one_point_with_the_sum() -> None:
    rows = (
        BASE | {"location": None},
        BASE | {"location": "", "bytes_ingress": 100},
        BASE | {"location": "default", "bytes_ingress": 1000},
        *(BY_APPLICATION | {"application": name, "bytes_ingress": 1 << n} for n, name in enumerate(["a b", "a.b", "Other", ""])),
        BY_APPLICATION | {"aggregation_type": "OTHER"},
    )
    graphite, prometheus = receivers_of(Settings(graphite="h:1", prometheus="http://h"))
    lines = [line("n", each).split() for each in graphite.points_of(table(*rows)) if each.series.direction == "in"]
    below = b"n.default.192_0_2_1.3."
    assert {name.removeprefix(below): int(value) for name, value, _ in lines} == {
        b"total.in.bytes": 1110, b"total.in.packets": 3, b"total.in.flows": 9,
        b"applications.a_b.in.bytes": 3, b"applications.Other.in.bytes": 14, b"applications.Unknown.in.bytes": 8,
    }  # fmt: skip
    assert len(lines) == 6
    found = [each for each in prometheus.points_of(table(*rows)) if each.series[-2:] == ("in", "bytes")]
    assert [(each.series.location, each.series.application, each.value) for each in found] == [
        ("", "", 110), ("default", "", 1000), ("", "a b", 1), ("", "a.b", 2), ("", "Other", 14), ("", "Unknown", 8),
    ]  # fmt: skip


def test_names_and_labels() -> None:
    assert line("nephrite", point()) == b"nephrite.lab_a.2001_db8_1.3.total.in.bytes 7 1700000100\n"
    assert line("n", point("a.b c/d")) == b"n.lab_a.2001_db8_1.3.applications.a_b_c_d.in.bytes 7 1700000100\n"
    assert labels_of("nephrite", point("https").series) == [
        ("__name__", "nephrite_interface_application_bytes"),
        ("application", "https"), ("direction", "in"), ("exporter", "2001:db8::1"), ("interface", "3"), ("location", "lab a"),
    ]  # fmt: skip
    assert dict(labels_of("x", point().series))["__name__"] == "x_interface_bytes"


def test_graphite_connects_again_when_the_receiver_has_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        graphite = Graphite(f"127.0.0.1:{server.getsockname()[1]}", "n")
        for value in (1, 2):
            graphite.send([point(value=value)])
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                assert stream.readline().split()[1] == b"%d" % value
            known = graphite._socket
            assert known is not None
            eventually(lambda known=known: graphite._is_closed(known), "the end of the connection")  # type: ignore[misc]
    graphite.close()
    with pytest.raises(OutletError, match=r"^graphite 127\.0\.0\.1:\d+ cannot be reached: Connection refused$"):
        graphite.send([point()])


class Strict(BaseHTTPRequestHandler):
    """A remote-write receiver that takes well-formed requests only."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = cramjam.snappy.decompress_raw(self.rfile.read(int(self.headers["Content-Length"])))
        well = self.headers["Content-Encoding"] == "snappy" and self.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
        status = server.statuses.pop(0) if server.statuses else 204 if well else 400
        if status == 204:
            server.series.extend(series_in(bytes(body)))
        server.tokens.append(self.headers["Authorization"])
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def fields(octets: bytes) -> Iterator[tuple[int, Any]]:
    """A message of protobuf, as plain as can be."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            octet = octets[at]
            at += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    while at < len(octets):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 1:
            yield tag >> 3, struct.unpack_from("<d", octets, at)[0]
            at += 8
        else:
            size = varint()
            yield tag >> 3, octets[at : at + size]
            at += size


def series_in(octets: bytes) -> Iterator[tuple[dict[str, str], float, int]]:
    for _, series in fields(octets):
        parts = list(fields(series))
        pairs = [dict(fields(label)) for number, label in parts if number == 1]
        labels = {pair[1].decode(): pair[2].decode() for pair in pairs}
        assert list(labels) == sorted(labels)
        for sample in (dict(fields(each)) for number, each in parts if number == 2):
            yield labels, sample[1], sample[2]


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Strict)
    server.series, server.statuses, server.tokens = [], [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}/api/v1/write"


def test_remote_write_is_well_formed(receiver: Any) -> None:
    writer = RemoteWrite(url_of(receiver), "nephrite", token="secret")
    assert writer.send([point(), point("https", value=1 << 40)]) == 0
    writer.close()
    assert [(labels["__name__"], value, time_ms) for labels, value, time_ms in receiver.series] == [
        ("nephrite_interface_bytes", 7.0, END_MS), ("nephrite_interface_application_bytes", float(1 << 40), END_MS),
    ]  # fmt: skip
    assert receiver.tokens == ["Bearer secret"]


def test_what_is_refused_for_good_is_counted_and_the_rest_is_tried_again(receiver: Any) -> None:
    writer = RemoteWrite(url_of(receiver), "nephrite")
    receiver.statuses.extend([400, 503, 429])
    assert writer.send([point()]) == 1
    for status in (503, 429):
        with pytest.raises(OutletError, match=f"answered {status}"):
            writer.send([point()])
    assert writer.send([point()]) == 0
    writer.close()


class Receiver:
    """A transport that is away when told so."""

    def __init__(self) -> None:
        self.away, self.tries = False, 0
        self.taken: list[Point] = []

    def send(self, points: Sequence[Point]) -> int:
        self.tries += 1
        if self.away:
            raise OutletError("away")
        self.taken.extend(points)
        return 0

    def close(self) -> None:
        pass


def test_points_wait_within_bounds_and_the_oldest_go() -> None:
    transport, now = Receiver(), [0.0]
    outlet = Outlet(transport, "drop", most_points=3, clock_s=lambda: now[0])
    transport.away = True
    for value in range(5):
        outlet.deliver([point(value=value)])
    assert (outlet.totals["dropped"], outlet.fault, transport.tries) == (2, "away", 1)
    transport.away = False
    outlet.deliver([])
    assert transport.taken == [], "too early for another try"
    now[0] = 1.0
    outlet.deliver([])
    assert [each.value for each in transport.taken] == [2, 3, 4]
    assert (outlet.totals["sent"], outlet.fault) == (3, "")


def test_who_waits_gets_the_error_and_keeps_the_points() -> None:
    transport = Receiver()
    outlet = Outlet(transport, "wait")
    transport.away = True
    with pytest.raises(OutletError, match="away"):
        outlet.deliver([point()])
    transport.away = False
    outlet.deliver([point()])
    assert (len(transport.taken), outlet.totals["sent"]) == (1, 1)


def test_series_are_bounded() -> None:
    transport = Receiver()
    outlet = Outlet(transport, most_series=2)
    outlet.deliver([point(interface=n) for n in (1, 2, 3, 1)])
    assert [each.series.interface for each in transport.taken] == [1, 2, 1]
    assert (outlet.totals["sent"], outlet.totals["over_limit"]) == (3, 1)


def test_both_drivers_hand_over_final_documents(receiver: Any) -> None:
    (one,) = receivers_of(Settings(prometheus=url_of(receiver)))
    sink = WriteSeries(one)
    stepped = Stepped(0, 0, documents=(table(BASE),), series=(table(BASE, BASE | {"final": False}),))
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, AGGREGATE_SCHEMA) as writer:
        writer.write_table(table(BY_APPLICATION | {"application": "dns"}))
    for element in (stepped, bytes(stream.getvalue())):
        sink.start_bundle()
        sink.process(element)
        sink.finish_bundle()
    assert len(receiver.series) == 6 + 2
    assert receivers_of(Settings()) == ()
