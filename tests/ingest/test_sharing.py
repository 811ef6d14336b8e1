"""Shared templates: a collector that starts cold decodes at once; own templates go first; failures cost nothing else."""

import json
from pathlib import Path

import pytest

from bus.compacted import beside, read_table, write_table
from bus.kafka_client import KafkaTarget
from common.addresses import pack_address
from common.config import Bus, Ingest
from common.errors import BusError, ConfigError, InputError
from common.metrics import Counters
from ingest.decoder import Datagram, Decoder
from ingest.sharing import FolderTable, Sharer, open_table
from tests.ingest.packets import v9_flows, v9_template
from tests.ingest.plain_flows import ipv4
from tests.ingest.test_service import memory, running, send, settings_in, until
from tests.servers.kafka import KafkaServer


def snapshot_of(*numbers: int) -> bytes:
    decoder = Decoder(Ingest(), 4, Counters())
    decoder.feed_many([Datagram(ipv4(number), 1_700_000_000_000, v9_template()) for number in numbers])
    return decoder.snapshot()


def share(sharer: Sharer, *snapshots: bytes) -> None:
    sharer.start()
    for snapshot in snapshots:
        sharer.offer(snapshot)
    sharer.stop()


def test_a_second_collector_decodes_from_the_first_packet(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    first = settings_in(tmp_path / "one", share_templates=shared)
    with running(first, memory()[0]) as service:
        send(service.addresses[0], [v9_template()])
    producer, entries = memory()
    with running(settings_in(tmp_path / "two", share_templates=shared), producer) as service:
        send(service.addresses[0], [v9_flows(5)])
    assert entries.flows() == 5
    assert service.counters.sum("ingest_problems_total") == 0


class CountingTable(FolderTable):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.writes: list[int] = []

    def write(self, collector: str, snapshots: object) -> None:
        self.writes.append(len(snapshots))  # type: ignore[arg-type]
        super().write(collector, snapshots)  # type: ignore[arg-type]


def test_only_what_changed_is_written_again(tmp_path: Path) -> None:
    table = CountingTable(tmp_path)
    sharer = Sharer(table, "c/1")
    sharer.start()
    sharer.offer(snapshot_of(1, 2))
    until(lambda: table.writes == [2])
    sharer.offer(snapshot_of(1, 2))
    sharer.offer(snapshot_of(1, 2, 3))
    sharer.stop()
    assert table.writes == [2, 1]
    assert len(table.read()) == 3


def test_a_folder_that_cannot_be_used_is_counted_and_the_service_works(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    producer, entries = memory()
    with running(settings_in(tmp_path, share_templates=str(tmp_path / "file")), producer) as service:
        send(service.addresses[0], [v9_template(), v9_flows(2)])
    assert entries.flows() == 2
    assert service.counters.sum("ingest_sharing_errors_total") >= 1


def test_damaged_entries_cost_themselves(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    share(Sharer(FolderTable(shared), "c"), snapshot_of(1))
    (shared / "x-00.templates").write_bytes(b"{")
    with running(settings_in(tmp_path, share_templates=str(shared)), memory()[0]) as service:
        pass
    assert service.counters.sum("ingest_state_errors_total") == 1


def test_kafka_needs_a_kafka_bus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.share_templates: kafka: needs a Kafka bus"):
        open_table(settings_in(tmp_path, share_templates="kafka:"))


def test_an_unreachable_kafka_is_a_bus_error() -> None:
    with pytest.raises(BusError, match=r"kafka 127\.0\.0\.1:1 cannot be reached"):
        read_table(KafkaTarget(("127.0.0.1:1",), "t"))


@pytest.mark.server("kafka")
def test_the_compacted_topic_is_a_table(kafka: KafkaServer, tmp_path: Path) -> None:
    target = beside(KafkaTarget((kafka.bootstrap,), "table"), "templates")
    assert read_table(target) == {}
    write_table(target, {b"a": b"1", b"b": b"2"})
    write_table(target, {b"a": b"3"})
    assert list(read_table(target).items()) == [(b"b", b"2"), (b"a", b"3")]
    settings = settings_in(tmp_path, share_templates="kafka:")
    settings = settings.model_copy(update={"bus": Bus(url=f"kafka://{kafka.bootstrap}/shared-bus", lanes=4)})
    table = open_table(settings)
    assert table is not None
    share(Sharer(table, "c"), snapshot_of(1, 2))
    decoder = Decoder(Ingest(), 4, Counters())
    for snapshot in table.read():
        decoder.restore(snapshot)
    decoder.feed(Datagram(ipv4(2), 1_700_000_000_000, v9_flows(3)))
    assert sum(flows.num_rows for flows in decoder.drain().values()) == 3


def waiting_decoder(*datagrams: bytes) -> Decoder:
    decoder = Decoder(Ingest(), 1, Counters())
    decoder.feed_many([Datagram(ipv4(1), 1_700_000_000_000, each) for each in datagrams])
    return decoder


def flows_in(decoder: Decoder) -> int:
    return sum(flows.num_rows for flows in decoder.drain().values())


def test_waiting_data_takes_the_template_of_another_collector() -> None:
    decoder = waiting_decoder(v9_flows(5), v9_flows(2, 2))
    assert decoder.fill(snapshot_of(1, 2)) == 1
    assert len(decoder.templates()) == 1
    assert flows_in(decoder) == 7
    assert decoder.fill(snapshot_of(1, 2)) == 0


def test_a_shared_template_is_refused_when_it_does_not_fit_or_is_older_than_the_boot() -> None:
    decoder = waiting_decoder(v9_flows(5)[:-8])
    assert decoder.fill(snapshot_of(1)) == 0
    late = Decoder(Ingest(), 4, Counters())
    late.feed(Datagram(ipv4(1), 1_600_000_000_000, v9_template()))
    decoder = waiting_decoder(v9_flows(5))
    assert decoder.fill(late.snapshot()) == 0
    assert decoder.is_waiting


def cold_decoder(lent: bytes, *datagrams: bytes) -> Decoder:
    decoder = Decoder(Ingest(), 1, Counters())
    decoder.lend(lent)
    decoder.feed_many([Datagram(ipv4(1), 1_700_000_000_000, each) for each in datagrams])
    return decoder


def test_a_cold_collector_takes_what_fits_and_is_not_older_than_the_boot() -> None:
    decoder = cold_decoder(snapshot_of(1), v9_flows(5), v9_flows(2, 2))
    assert (flows_in(decoder), decoder.is_waiting) == (7, False)
    misfit = cold_decoder(snapshot_of(1), v9_flows(5)[:-8])
    assert (flows_in(misfit), misfit.is_waiting, misfit.templates()) == (0, True, [])
    late = Decoder(Ingest(), 4, Counters())
    late.feed(Datagram(ipv4(1), 1_600_000_000_000, v9_template()))
    outdated = cold_decoder(late.snapshot(), v9_flows(5))
    assert (flows_in(outdated), outdated.is_waiting) == (0, True)
    outdated.feed(Datagram(ipv4(1), 1_700_000_000_000, v9_template()))
    assert flows_in(outdated) == 5


def test_a_cold_collector_takes_samplers_with_the_template() -> None:
    tree = json.loads(snapshot_of(1))
    tree["exporters"][0]["domains"][0]["default"] = [50.0, 1]
    decoder = cold_decoder(json.dumps(tree).encode(), v9_flows(1))
    (flows,) = decoder.drain().values()
    assert flows.column("sampling_interval").to_pylist() == [50.0]


def test_own_templates_stay() -> None:
    decoder = waiting_decoder(v9_template(), v9_flows(1), v9_flows(1, 1, domain=7))
    before = decoder.templates()
    assert decoder.fill(snapshot_of(1)) == 0
    assert decoder.templates() == before
    with pytest.raises(InputError, match="not usable"):
        decoder.fill(b"{")


def test_an_exporter_that_moves_to_a_running_collector_is_decoded_there(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    now = [1_700_000_000_000]
    producer, entries = memory()
    settings = settings_in(tmp_path, share_templates=str(shared))
    with running(settings, producer, clock=lambda: now[0]) as service:
        share(Sharer(FolderTable(shared), "other"), snapshot_at("127.0.0.1"))
        send(service.addresses[0], [v9_flows(5)])

        def arrived() -> bool:
            now[0] += 500
            return entries.flows() == 5

        until(arrived)


def snapshot_at(address: str) -> bytes:
    decoder = Decoder(Ingest(), 4, Counters())
    decoder.feed(Datagram(pack_address(address), 1_700_000_000_000, v9_template()))
    return decoder.snapshot()
