"""Dead letters and `bus peek`: kept in bounds, shown, decoded again; and the bus as people see it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bus.open import open_producer
from common.config import Bus, ExporterSettings, Settings
from common.errors import BusError, ConfigError, InputError, UsageError
from flowpb.codec import Header, encode
from flowpb.flow_batch_pb2 import ExporterReport
from ingest.commands import app_commands
from ingest.dead_letters import pack_letter, unpack_letter
from ingest.decoder import Datagram
from ingest.letter_spool import SpoolLetters
from tests.ingest.packets import v5, v9_flows, v9_template
from tests.ingest.plain_flows import ipv4, make_flows
from tests.ingest.test_service import running, send, settings_in, spool
from tests.protocols.sflow_wire import flow_sample, sflow


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app_commands(app)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_a_letter_is_read_back() -> None:
    datagram = Datagram(ipv4(1), 1234, b"octets", 7)
    letter = unpack_letter(9, pack_letter(datagram, "set_length", "set 3 is of 2 octets – bad", True))
    assert (letter.number, letter.datagram, letter.reason, letter.text, letter.partly) == (
        9, datagram, "set_length", "set 3 is of 2 octets – bad", True,
    )  # fmt: skip
    with pytest.raises(InputError, match="dead letter 9"):
        unpack_letter(9, b"short")


def test_the_store_is_bounded_and_drops_its_oldest(tmp_path: Path) -> None:
    letters = SpoolLetters(tmp_path, 1 << 20)
    store = letters.open()
    for number in range(3000):
        store.put(pack_letter(Datagram(ipv4(1), number, bytes(1000)), "set_length", "why", partly=False))
    store.flush()
    store.close()
    kept = [letter.datagram.received_ms for letter in letters.read()]
    assert kept == list(range(3000 - len(kept), 3000))
    assert 500 < len(kept) <= 1100
    assert (store.kept, store.failed) == (3000, 0)


def test_undecodable_datagrams_are_kept_shown_and_decoded_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer = open_producer(settings.bus, tmp_path)
    short = v5(3)[:-20]
    with running(settings, producer) as service:
        send(service.addresses[0], [b"junk", v5(2), short, v9_flows(1)])
    producer.close()
    assert service.counters.value("ingest_dead_letters_total", result="kept") == 2
    rows = json.loads(run("dead-letters", "list", "-d", str(tmp_path), "-f", "json").stdout)
    assert [(row["reason"], row["octets"], row["partly"], row["exporter"]) for row in rows] == [
        ("unknown_protocol", 4, False, "127.0.0.1"),
        ("length_mismatch", len(short), True, "127.0.0.1"),
    ]
    shown = run("dead-letters", "show", str(rows[0]["number"]), "-d", str(tmp_path)).stdout
    assert shown.splitlines()[1] == "00000000  6a 75 6e 6b"
    assert isinstance(run("dead-letters", "show", "99", "-d", str(tmp_path)).exception, UsageError)
    environment = {"NEPHRITE_BUS__LANES": "4", "NEPHRITE_INGEST__COLLECTOR": "c"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        done = run("dead-letters", "replay", "-d", str(tmp_path))
        assert done.stderr == "1 datagrams again: 0 flows decoded, 1 datagrams still undecodable\n"
        done = run("dead-letters", "replay", "--partly", "-d", str(tmp_path))
        assert "2 datagrams again: 2 flows decoded, 2 datagrams still undecodable" in done.stderr
        rows = json.loads(run("dead-letters", "list", "-d", str(tmp_path), "-f", "json").stdout)
        assert [(row["number"], row["reason"]) for row in rows] == [(4, "unknown_protocol"), (5, "length_mismatch")]
    epochs = {header.epoch for header, _ in spool(settings).all()}
    assert len(epochs) == 3


def test_replay_is_refused_while_the_service_runs(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer = open_producer(settings.bus, tmp_path)
    with running(settings, producer) as service:
        send(service.addresses[0], [b"junk"])
    with running(settings, producer):
        failed = run("dead-letters", "replay", "-d", str(tmp_path))
    producer.close()
    assert isinstance(failed.exception, ConfigError)
    assert "another collector runs" in str(failed.exception)


def test_nothing_to_list_or_replay(tmp_path: Path) -> None:
    assert json.loads(run("dead-letters", "list", "-d", str(tmp_path), "-f", "json").stdout) == []
    assert run("dead-letters", "replay", "-d", str(tmp_path)).stderr == "no dead letter to decode again\n"


def test_missing_templates_and_repairs_are_no_dead_letters(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer = open_producer(settings.bus, tmp_path)
    with running(settings, producer) as service:
        send(service.addresses[0], [v9_flows(1), v9_template(2), v9_flows(2, 3)])
    producer.close()
    assert list(SpoolLetters(tmp_path, 1).read()) == []


def test_the_letter_of_a_faulty_sample_is_its_own_datagram(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer = open_producer(settings.bus, tmp_path)
    good, bad = sflow(flow_sample()), sflow(flow_sample()[:-8], flow_sample(), sequence=2)
    with running(settings, producer) as service:
        send(service.addresses[0], [good, bad, sflow(flow_sample(), sequence=3)])
    producer.close()
    (letter,) = SpoolLetters(tmp_path, 1).read()
    assert (letter.datagram.payload, letter.reason, letter.partly) == (bad, "sample_malformed", True)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    producer = open_producer(Bus(), tmp_path)
    reports = (ExporterReport(exporter=ipv4(1), datagrams=3, records=5, problems={"set_length": 1}),)
    for seq in range(3):
        producer.send(2, encode(Header("c", 1, 2, seq, 1_000 * seq, reports=reports), make_flows(seq)))
    producer.send(5, b"no batch")
    producer.flush(5)
    producer.close()
    return tmp_path


def test_peek_at_envelopes(filled: Path) -> None:
    rows = json.loads(run("bus", "peek", "-d", str(filled), "-f", "json").stdout)
    assert [(row["partition"], row["offset"], row.get("seq"), row.get("flows")) for row in rows] == [
        (2, 0, 0, 0), (2, 1, 1, 1), (2, 2, 2, 2), (5, 0, None, None),
    ]  # fmt: skip
    assert rows[3]["fault"].startswith("not a FlowBatch")


def test_peek_at_reports_and_rows(filled: Path) -> None:
    arguments = ("bus", "peek", "-d", str(filled), "-f", "json", "--partition", "2")
    reports = json.loads(run(*arguments, "--show", "reports", "--last", "1").stdout)
    assert [(row["offset"], row["exporter"], row["records"], row["problems"]) for row in reports] == [
        (2, "10.0.0.1", 5, {"set_length": 1})
    ]
    rows = json.loads(run(*arguments, "--show", "rows").stdout)
    assert [row["src_addr"] for row in rows] == ["10.0.0.0", "10.0.0.0", "10.0.0.1"]
    assert len(json.loads(run(*arguments, "--show", "rows", "-n", "2").stdout)) == 2
    assert len(json.loads(run(*arguments, "--offset", "2").stdout)) == 1


def test_peek_refuses_what_is_not_there(filled: Path) -> None:
    assert isinstance(run("bus", "peek", "-d", str(filled), "--partition", "16").exception, UsageError)
    assert isinstance(run("bus", "peek", "-d", str(filled), "--bus", "pigeon:").exception, ConfigError)
    failed = run("bus", "peek", "-d", str(filled), "--show", "rows", "--partition", "5")
    assert isinstance(failed.exception, BusError)
    assert "partition 5 offset 0: not a FlowBatch" in str(failed.exception)
    assert Settings().ingest.exporter_settings == ()
    assert ExporterSettings(networks=("::/0",)).location is None
