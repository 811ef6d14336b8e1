"""Watching the service: pages over HTTP, the board of exporters, reload, and the tap."""

import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.addresses import pack_address
from common.config import ExporterSettings, Ingest, Settings
from common.errors import ConfigError, UsageError
from common.exposition import expose
from common.metrics import METRICS, Counters, rendered
from common.watch import WatchServer
from flowpb.flow_batch_pb2 import AwaitedTemplate, ExporterReport, SequenceReport
from ingest.board import ExporterBoard
from ingest.exporter_rules import ExporterRules
from ingest.pages import pages_of
from ingest.render import Format
from ingest.service import IngestService
from ingest.tap import FlowTap, parse_condition
from tests.ingest.packets import v5, v9_flows
from tests.ingest.plain_flows import ipv4, make_flows
from tests.ingest.test_service import UnwillingBus, memory, running, send, settings_in, until


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[IngestService]:
    with running(settings_in(tmp_path), memory()[0]) as under_test:
        yield under_test


@pytest.fixture
def port(service: IngestService) -> Iterator[int]:
    server = WatchServer("127.0.0.1", 0, pages_of(service, Counters()), "ingest.watch_port")
    server.start()
    yield server.port
    server.stop()


def test_health_readiness_and_metrics(service: IngestService, port: int) -> None:
    assert get(port, "/healthz") == (200, "ok\n")
    status, text = get(port, "/readyz")
    assert status == 200
    assert text.startswith("ready: udp://127.0.0.1:")
    send(service.addresses[0], [v5(24), b"junk"])
    until(lambda: service.counters.sum("ingest_datagrams_total") == 2)
    status, text = get(port, "/metrics?x=1")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {(sample.name, *sample.labels.values()): sample.value for family in families.values() for sample in family.samples}
    assert samples["ingest_datagrams_total", "netflow5"] == 1
    assert samples["ingest_problems_total", "unknown_protocol"] == 1
    assert samples["ingest_socket_drops_total",] == 0
    assert samples["ingest_queue_bytes",] == 0
    assert get(port, "/none")[0] == 404


def test_not_ready_while_the_bus_refuses_and_not_healthy_at_the_end(tmp_path: Path) -> None:
    bus = UnwillingBus(memory()[0])
    service = IngestService(settings_in(tmp_path, outbox_bytes=1 << 20), bus)
    pages = pages_of(service, Counters())
    assert pages["/healthz"]().status == 503
    service.start()
    send(service.addresses[0], [v5(24, n * 24) for n in range(2000)])
    until(lambda: b"no room" in pages["/readyz"]().body)
    assert pages["/readyz"]().status == 503
    assert pages["/healthz"]().status == 200
    bus.willing.set()
    until(lambda: pages["/readyz"]().status == 200)
    service.stop()
    assert pages["/readyz"]().body == b"stopping\n"


def test_exporters_page_names_what_is_waited_for(service: IngestService, port: int) -> None:
    send(service.addresses[0], [v9_flows(2)])
    service.stop = lambda: None  # type: ignore[method-assign]
    IngestService.stop(service)
    (row,) = json.loads(get(port, "/exporters")[1])
    assert (row["exporter"], row["state"], row["protocol_version"]) == ("127.0.0.1", "waiting for templates", 9)
    assert row["awaited_templates"] == ["template 256 of domain 1, 1 sets wait"]
    assert row["last_error"] == "template_missing: waiting for template 256 of domain 1"


def test_a_port_in_use_is_a_configuration_error(port: int) -> None:
    with pytest.raises(ConfigError, match=f"ingest.watch_port: 127.0.0.1 port {port}: Address already in use"):
        WatchServer("127.0.0.1", port, {}, "ingest.watch_port")


def report(until_ms: int, **fields: object) -> ExporterReport:
    return ExporterReport(exporter=ipv4(1), since_ms=until_ms - 10_000, until_ms=until_ms, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "later_ms", "state"),
    [
        ({"datagrams": 10, "records": 100}, 0, "ok"),
        ({"datagrams": 10, "records": 100}, 120_000, "silent for 120 s"),
        ({"datagrams": 10}, 0, "no flows yet"),
        ({"datagrams": 10, "problems": {"set_length": 10}}, 0, "nothing decodable"),
        ({"datagrams": 10, "awaited": [AwaitedTemplate(domain=1, template_id=300, sets=4)]}, 0, "waiting for templates"),
        ({"datagrams": 10, "records": 5, "socket_drops": 1}, 0, "losing datagrams at this collector"),
        ({"datagrams": 9, "records": 5, "sequences": [SequenceReport(received=90, missing=10)]}, 0, "losing datagrams on the way"),
    ],
)
def test_the_board_says_what_to_look_at_first(fields: dict[str, object], later_ms: int, state: str) -> None:
    board = ExporterBoard()
    board.take({0: [report(50_000, **fields)]}, 50_000)
    rules = ExporterRules(Ingest(exporter_settings=(ExporterSettings(networks=("10.0.0.0/8",), name="core", location="dc"),)))
    (row,) = board.rows(rules, 50_000 + later_ms)
    assert (row.exporter, row.name, row.location, row.state) == ("10.0.0.1", "core", "dc", state)


def test_the_board_adds_up_and_forgets_after_a_day() -> None:
    board = ExporterBoard()
    for number in (1, 2):
        sequences = [SequenceReport(received=9, missing=1)]
        board.take({0: [report(number * 10_000, datagrams=10, records=240, sequences=sequences)]}, number * 10_000)
    (row,) = board.rows(ExporterRules(Ingest()), 20_000)
    assert (row.datagrams, row.flows, row.datagrams_per_s, row.flows_per_s) == (20, 480, 1.0, 24.0)
    assert (row.sequence_missing, row.sequence_loss, board.active()) == (2, 0.1, 1)
    board.take({0: [ExporterReport(exporter=ipv4(2), until_ms=90_000_000, datagrams=1)]}, 90_000_000)
    assert [each.exporter for each in board.rows(ExporterRules(Ingest()), 90_000_000)] == ["10.0.0.2"]


def test_every_metric_of_the_table_can_be_exposed() -> None:
    counters = Counters()
    for metric in METRICS:
        if metric.kind == "counter":
            counters.add(metric.name, 3, **dict.fromkeys(metric.labels, 'a "b"\n'))
    gauges = {rendered(metric.name, **dict.fromkeys(metric.labels, "x")): 4.0 for metric in METRICS if metric.kind == "gauge"}
    text = expose(counters.totals, gauges).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert {sample.name for sample in samples} == {metric.name for metric in METRICS}
    assert {sample.value for sample in samples} == {3.0, 4.0}


def test_the_tap_shows_what_batches_hold(tmp_path: Path) -> None:
    entry = ExporterSettings(networks=("127.0.0.1",), location="lab", sampling_interval=50, interface_accounting="both_sides")
    producer, entries = memory()
    seen: list[pa.RecordBatch] = []
    with running(settings_in(tmp_path, exporter_settings=(entry,)), producer, tap=seen.append) as service:
        send(service.addresses[0], [v5(3)])
    (batched,) = (columns for header, columns in entries.all() if header.flow_count)
    assert seen[0].to_pylist() == batched.to_pylist()
    assert [seen[0][name][0].as_py() for name in ("location", "sampling_interval", "direction")] == ["lab", 50.0, 255]


def test_reload_reaches_the_decoder_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer, entries = memory()

    def keep(name: str) -> Settings:
        entry = ExporterSettings(networks=("127.0.0.1",), keep_elements=(name,))
        return settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"exporter_settings": (entry,)})})

    with running(settings, producer) as service:
        with pytest.raises(ConfigError, match="no element is called 'noSuch'"):
            service.reload(keep("noSuch"))
        send(service.addresses[0], [v5(1)])
        until(lambda: entries.flows() == 1)
        service.reload(keep("destinationIPv4Address"))
        send(service.addresses[0], [v5(1, 1)])
        until(lambda: entries.flows() == 2)
    kept = ["extras" in columns.schema.names for header, columns in entries.all() if header.flow_count]
    assert kept == [False, True]


def test_reload_brings_rules_into_force_and_names_what_must_wait(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer, entries = memory()
    with running(settings, producer) as service:
        send(service.addresses[0], [v5(1)])
        until(lambda: entries.flows() == 1)
        rules = (
            ExporterSettings(networks=("127.0.0.0/8",), address="192.0.2.7"),
            ExporterSettings(networks=("192.0.2.7",), location="lab"),
        )
        changed = settings.ingest.model_copy(update={"exporter_settings": rules, "batch_flows": 7})
        assert service.reload(settings.model_copy(update={"ingest": changed})) == ["ingest.batch_flows"]
        send(service.addresses[0], [v5(1, 1)])
        until(lambda: entries.flows() == 2)
        refused = changed.model_copy(update={"allowed_networks": ("192.0.2.0/24",)})
        service.reload(settings.model_copy(update={"ingest": refused}))
        send(service.addresses[0], [v5(1, 2)])
        until(lambda: service.status().refused == 1)
        missing = service.exporters()[-1]
        assert (missing.exporter, missing.datagrams, missing.state.split(":")[0]) == ("127.0.0.1", 1, "refused")
    flows = [columns for header, columns in entries.all() if header.flow_count]
    assert [(each["location"][0].as_py(), each["exporter_addr"][0].as_py()) for each in flows] == [
        ("Default", pack_address("127.0.0.1")),
        ("lab", pack_address("192.0.2.7")),
    ]
    assert service.counters.value("ingest_reloads_total", result="done") == 2
    assert service.counters.value("ingest_datagrams_dropped_total", reason="source_refused") == 1


def test_one_collector_per_state_file(tmp_path: Path) -> None:
    with running(settings_in(tmp_path), memory()[0]), pytest.raises(ConfigError, match="another collector runs with"):
        IngestService(settings_in(tmp_path), memory()[0]).start()


def test_the_tap_shows_the_flows_that_were_asked_for() -> None:
    out = io.StringIO()
    tap = FlowTap(out, Format.NDJSON, [parse_condition("bytes=3")], ["exporter_addr", "src_addr"])
    tap.start()
    tap(make_flows(5))
    tap.stop()
    assert json.loads(out.getvalue()) == {"exporter_addr": "10.0.0.0", "src_addr": "10.0.0.3"}


class SlowStream(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        assert self.go_on.wait(20)
        return super().write(text)


def test_a_slow_reader_of_the_tap_costs_rows_not_time() -> None:
    out = SlowStream()
    tap = FlowTap(out, Format.TABLE)
    tap.start()
    for _ in range(200):
        tap(make_flows(1))
    assert tap.skipped >= 200 - 64 - 1
    out.go_on.set()
    tap.stop()
    assert len(out.getvalue().splitlines()) == 1 + 200 - tap.skipped


@pytest.mark.parametrize("text", ["src_addr=10.0.0", "src_port=http", "exporter_addr="])
def test_values_that_a_column_of_the_tap_cannot_have(text: str) -> None:
    with pytest.raises(UsageError, match=f"--where {text}: .* has no value"):
        parse_condition(text)


def test_addresses_of_the_tap_may_be_written_in_any_form() -> None:
    assert parse_condition("src_addr=2001:DB8:0::1") == parse_condition("src_addr=2001:db8::1")
    assert parse_condition("src_addr=::ffff:10.0.0.1") == parse_condition("src_addr=10.0.0.1")


@pytest.mark.parametrize("text", ["bytes", "colour=red", "=3"])
def test_wrong_conditions_of_the_tap(text: str) -> None:
    with pytest.raises(UsageError, match="expected COLUMN=VALUE"):
        parse_condition(text)
