"""Names that exporters have sent, over HTTP and into the inventory."""

import json
import struct
import threading
from pathlib import Path

from common.addresses import pack_address
from common.metrics import Counters
from common.watch import WatchServer
from ingest.desk import TablesDesk
from ingest.pages import pages_of
from ingest.service import IngestService
from ingest.tables import NameRow
from inventory.http import HttpAccess
from inventory.model import Interface, Node, Vrf
from inventory.options import OptionsPage
from tests.ingest.test_service import memory, running, send, settings_in, until
from tests.ingest.test_watching import get
from tests.protocols.wire import ipfix, options_template, put

ROW = NameRow(pack_address("10.0.0.1"), 0, "vrf", "7", "red", "")


def test_names_of_exporters_reach_the_inventory(tmp_path: Path) -> None:
    interfaces = options_template(300, ((10, 4),), ((82, 4), (83, 6)), True)
    vrfs = options_template(301, ((234, 4),), ((236, 3),), True)
    applications = options_template(302, ((95, 4),), ((96, 5),), True)
    packet = ipfix(
        interfaces, vrfs, applications,
        put(300, struct.pack(">I", 2) + b"xe-0uplink"),
        put(301, struct.pack(">I", 7) + b"red"),
        put(302, b"\x0d\0\0\x01" + b"skype"),
    )  # fmt: skip
    with running(settings_in(tmp_path), memory()[0]) as service:
        watch = WatchServer("127.0.0.1", 0, pages_of(service, Counters()), "ingest.watch_port")
        watch.start()
        try:
            send(service.addresses[0], [packet])
            until(lambda: len(json.loads(get(watch.port, "/names")[1])) == 3)
            rows = json.loads(get(watch.port, "/names")[1])
            gathered = OptionsPage(f"http://127.0.0.1:{watch.port}/names", HttpAccess(5.0)).gather()
        finally:
            watch.stop()
    assert [(row["exporter"], row["domain"], row["kind"], row["id"], row["name"], row["description"]) for row in rows] == [
        ("127.0.0.1", 0, "interface", "2", "xe-0", "uplink"),
        ("127.0.0.1", 0, "application", "0d000001", "skype", ""),
        ("127.0.0.1", 0, "vrf", "7", "red", ""),
    ]
    assert gathered.nodes == (Node(addresses=("127.0.0.1",), interfaces=(Interface(2, "xe-0", "uplink"),), vrfs=(Vrf(7, "red"),)),)
    assert gathered.problems == ()


def test_samplers_and_templates_of_exporters_are_pages(tmp_path: Path) -> None:
    options = options_template(300, ((130, 4),), ((304, 2), (305, 4), (306, 4)), True)
    packet = ipfix(options, put(300, bytes((10, 0, 0, 7)) + struct.pack(">HII", 1, 1, 99)))
    with running(settings_in(tmp_path), memory()[0]) as service:
        watch = WatchServer("127.0.0.1", 0, pages_of(service, Counters()), "ingest.watch_port")
        watch.start()
        try:
            send(service.addresses[0], [packet])
            until(lambda: json.loads(get(watch.port, "/samplers")[1]) != [])
            (sampler,) = json.loads(get(watch.port, "/samplers")[1])
            (template,) = json.loads(get(watch.port, "/templates")[1])
        finally:
            watch.stop()
    assert (sampler["exporter"], sampler["scope"], sampler["scope_id"]) == ("127.0.0.1", "exporter", "10.0.0.7")
    assert (sampler["interval"], sampler["algorithm"]) == (100, 1)
    assert (template["template_id"], template["kind"], len(template["fields"])) == (300, "options", 4)
    assert template["fields"][1] == {"pen": 0, "id": 304, "length": 2, "name": "selectorAlgorithm", "type": "unsigned16"}


def test_a_service_that_does_not_decode_has_no_names(tmp_path: Path) -> None:
    service = IngestService(settings_in(tmp_path), memory()[0])
    assert service.tables.ask("names", timeout_s=0.0) is None


def test_who_asks_is_answered_by_the_owner_of_the_names() -> None:
    desk = TablesDesk()
    made: list[int] = []

    def names() -> list[NameRow]:
        made.append(threading.get_ident())
        return [ROW]

    desk.answer({"names": names})
    assert made == [], "nobody has asked"
    found: list[object] = []
    askers = [threading.Thread(target=lambda: found.append(desk.ask("names"))) for _ in range(3)]
    for asker in askers:
        asker.start()
    while len(found) < len(askers):
        desk.answer({"names": names})
    for asker in askers:
        asker.join()
    assert found == [[ROW]] * 3
    assert set(made) == {threading.get_ident()}
