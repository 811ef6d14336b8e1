"""sFlow: agents at work, the wire by hand, tshark and the product's decoder, and the whole way from capture to documents."""

import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import pack_address
from common.config import Ingest
from common.metrics import Counters
from flowpb.codec import decode
from ingest import decoder
from ingest.loadgen.agents import Agents
from ingest.loadgen.compare import differences
from ingest.loadgen.expected import Oracle
from ingest.loadgen.export import Datagram, Exporters
from ingest.loadgen.network import deliver
from ingest.loadgen.outputs import CaptureFile
from ingest.loadgen.records import RECORD, Rows
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Exporter, Network, Sampling, Scenario
from ingest.loadgen.truth import Ledger
from ingest.loadgen.wire import sflow
from ingest.replay import entries_of_capture
from tests.loadgen.rows import FULL, START_MS, one_flow, tiny

BY_64: Final = Sampling(interval=64, via="record")
PLAIN: Final = Exporter(address="127.9.0.4", protocol="sflow", interfaces=3, sampling=BY_64, direction="both", drops=0.1)
EXPANDED: Final = Exporter(
    address="2001:db8::4",
    protocol="sflow",
    domain=300,
    interfaces=3,
    first_if_index=1 << 30,
    expanded_samples=True,
    direction="egress",
    sampling=Sampling(interval=1000, via="record"),
)


def sent_by(scenario: Scenario) -> list[Datagram]:
    return [datagram for part in Exporters(scenario, START_MS).slices() for datagram in part]


def rows_of(datagrams: list[Datagram]) -> Rows:
    return np.concatenate([datagram.rows for datagram in datagrams])


def told(count: int = 1, expanded: bool = False) -> sflow.Told:
    def column(value: int) -> Any:
        return np.full(count, value)

    return sflow.Told(column(7), column(700), column(1), column(100), np.full(count, expanded))


def test_header() -> None:
    counts = "00000003 00000001 00000005 00000002"
    ends = (2**32 + 1, 2**32 + 5, 2)
    assert sflow.header(pack_address("192.0.2.9"), 3, *ends) == bytes.fromhex(f"00000005 00000001 c0000209 {counts}")
    v6 = "20010db8000000000000000000000009"
    assert sflow.header(pack_address("2001:db8::9"), 3, *ends) == bytes.fromhex(f"00000005 00000002 {v6} {counts}")


def test_flow_sample() -> None:
    octets, edges = sflow.encode_samples(one_flow(FULL | {"bytes": 40, "packets": 1, "in_if": 4}), told())
    head = (
        "020000000007 020000000004 0800"  # to the next interface, from the one before
        "45 2a 0028 c2eb 4000 3f 06 acb0 0a000001 c0000209"
        "01bb c350 00000001 00000001 501b ffff 0000 0000"
        "000000000000"  # a frame has 60 octets at least
    )
    assert octets == bytes.fromhex(
        "00000001 000000e4"
        "00000007 00000007 00000064 000002bc 00000001 00000004 00000007 00000004"  # sampled at the output
        "000003e9 00000010 00000065 00000001 00000065 00000001"
        "000003ea 00000010 00000001 ac100001 00000018 00000014"
        "000003eb 00000038 00000001 ac100001 0000fc00 0000fc00 0000fbf0"
        "00000001 00000002 00000002 0000fbf4 00030007 00000002 fbf00064 fbf000c8 00000064"
        f"00000001 0000004c 00000001 00000040 00000004 0000003c {head}"
    )
    assert edges.tolist() == [0, len(octets)]


def test_expanded_sample_of_a_tagged_ipv6_packet_that_is_cut() -> None:
    row = one_flow(FULL | {"ip_version": 6, "protocol": 17, "bytes": 1400, "direction": 0}, "2001:db8::1", "2001:db8::2", "fe80::1")
    octets, _ = sflow.encode_samples(row, told(expanded=True))
    assert len(octets) == sflow.LONGEST_SAMPLE
    assert octets[:52] == bytes.fromhex(
        "00000003 0000014c 00000007 00000000 00000003 00000064 000002bc 00000001 00000000 00000003 00000000 00000007 00000004"
    )
    assert octets[-144:] == bytes.fromhex(
        "00000001 0000058e 00000004 00000080"
        "020000000007 020000000003 8100 2065 86dd"
        "62a01bb0 0550 11 3f 20010db8000000000000000000000001 20010db8000000000000000000000002"
        "01bb c350 0550 0000"
    ) + bytes(128 - 18 - 40 - 8)


def test_transport_headers() -> None:
    rows = np.concatenate([one_flow(FULL | {"protocol": protocol, "in_if": 2, "bytes": 60}) for protocol in (17, 132, 1)])
    octets, edges = sflow.encode_samples(rows, told(3))
    heads = [octets[stop - 76 : stop][34:46].hex(" ", 2) for stop in edges[1:].tolist()]
    assert heads == [
        "01bb c350 0028 0000 0000 0000",
        "01bb c350 0000 0001 0000 0000",
        "0800 0000 0000 0000 0000 0000",
    ]


def test_counter_samples() -> None:
    totals = {"in_octets": [2**40], "in_packets": [2**32 + 5], "out_octets": [9], "out_packets": [1]}
    columns = {name: np.array(total, np.uint64) for name, total in totals.items()}
    (sample,) = sflow.encode_counters(np.array([7]), 3, columns, expanded=False)
    assert sample == bytes.fromhex(
        "00000002 0000006c 00000003 00000007 00000001 00000001 00000058"
        "00000007 00000006 000000003b9aca00 00000001 00000003"
        "0000010000000000 00000005 00000000 00000000 00000000 00000000 00000000"
        "0000000000000009 00000001 00000000 00000000 00000000 00000000 00000000"
    )
    (expanded,) = sflow.encode_counters(np.array([7]), 3, columns, expanded=True)
    assert len(expanded) == sflow.LONGEST_COUNTERS
    assert expanded[:24] == bytes.fromhex("00000004 00000070 00000003 00000000 00000007 00000001")


def test_samples_are_single_packets() -> None:
    rows = rows_of(sent_by(tiny(PLAIN, EXPANDED, rate=500)))
    assert set(rows["packets"].tolist()) == {1}
    assert (rows["first_ms"] == rows["last_ms"]).all()
    assert (rows["first_ms"] == rows["export_ms"]).all()
    assert rows["bytes"].max() == 1500
    least = np.where(rows["ip_version"] == 6, 40, 20) + np.where(rows["protocol"] == 6, 20, 8)
    assert (rows["bytes"] >= least).all()


def test_datagrams_keep_to_their_size_and_count_their_samples() -> None:
    sent = sent_by(tiny(PLAIN, EXPANDED, rate=500))
    assert max(len(datagram.payload) for datagram in sent) <= 1464 + 40
    for exporter, octets in ((0, 28), (1, 40)):
        mine = [datagram for datagram in sent if datagram.exporter == exporter]
        headers = [struct.unpack_from("!IIII", datagram.payload, octets - 16) for datagram in mine]
        assert [sequence for _, sequence, _, _ in headers] == list(range(len(mine)))
        assert [samples for *_, samples in headers] == [len(datagram.rows) + datagram.counters for datagram in mine]
        assert {sub_agent for sub_agent, *_ in headers} == {(0, 300)[exporter]}
        assert all(uptime == 86_400_000 + d.sent_ms - START_MS for (_, _, uptime, _), d in zip(headers, mine, strict=True))


def test_every_source_numbers_its_samples() -> None:
    rows = rows_of(sent_by(tiny(PLAIN, EXPANDED, rate=500)))
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    for exporter, source, number in zip(
        rows["exporter"].tolist(), sflow.source_of(rows).tolist(), rows["sample"].tolist(), strict=True
    ):
        numbers[exporter, source].append(number)
    assert len(numbers) == 6
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def test_a_restarted_agent_counts_anew() -> None:
    booting = PLAIN.model_copy(update={"restart_at_s": 3, "template_interval_s": 2})
    sent = sent_by(tiny(booting))
    assert [d.sent_ms - START_MS for d in sent if d.counters] == [0, 2_000, 3_000, 4_000]
    new = [datagram for datagram in sent if datagram.life == 1]
    assert [datagram.position for datagram in new] == list(range(len(new)))
    rows = rows_of(new)
    assert {int(rows["sample"][sflow.source_of(rows) == source].min()) for source in (1, 2, 3)} == {1}
    assert set(in_octets(new[0].payload)) == {0}


def test_pools_and_drops() -> None:
    agents = Agents([PLAIN])
    rows = np.zeros(200, dtype=RECORD)
    rows["in_if"], rows["out_if"] = 1, 2
    agents.number(rows)
    said = agents.told(rows)
    assert said.sequence.tolist() == list(range(1, 201))
    assert int(said.drops[-1]) == 22  # a tenth of 222
    assert (said.pool == 64 * (said.sequence + said.drops)).all()


def in_octets(payload: bytes) -> list[int]:
    """Of each counter sample of a datagram of PLAIN."""
    return [struct.unpack_from("!Q", payload, at + 28 + 24)[0] for at in range(28, len(payload), 116)]


def test_counters_are_the_samples_scaled_up() -> None:
    sent = sent_by(tiny(PLAIN.model_copy(update={"template_interval_s": 4}), rate=500))
    later = next(datagram for datagram in sent if datagram.counters and datagram.sent_ms > START_MS)
    rows = rows_of([datagram for datagram in sent if datagram.sent_ms < START_MS + 4_000])
    octets = 64 * sflow.frame_octets(rows)
    assert in_octets(later.payload) == [int(octets[rows["in_if"] == index].sum()) for index in (1, 2, 3)]


def fed(datagrams: list[Datagram], exporter: bytes) -> decoder.Decoder:
    made = decoder.Decoder(Ingest(), 16, Counters())
    for datagram in datagrams:
        made.feed(decoder.Datagram(exporter, datagram.sent_ms, datagram.payload))
    return made


def columns(made: decoder.Decoder) -> dict[str, list[Any]]:
    (batch,) = made.drain().values()
    found: dict[str, list[Any]] = batch.to_pydict()
    return found


@pytest.mark.parametrize("exporter", [PLAIN, EXPANDED])
def test_decoder_finds_every_field(exporter: Exporter) -> None:
    sent = sent_by(tiny(exporter, rate=1_000, duration_s=3))
    found, rows = columns(fed(sent, pack_address(exporter.address))), rows_of([d for d in sent if d.counters == 0])
    tcp, ping = rows["protocol"] == 6, np.isin(rows["protocol"], (1, 58))
    assert min(tcp.sum(), ping.sum(), (rows["protocol"] == 132).sum(), (rows["ip_version"] == 6).sum()) > 0
    for name in ("bytes", "packets", "in_if", "out_if", "direction", "vlan", "tos", "protocol", "ip_version", "src_as", "dst_as"):
        assert found[name] == rows[name].tolist(), name
    for name in ("src_addr", "dst_addr", "next_hop"):
        assert found[name] == [octets.tobytes() for octets in rows[name]], name
    for name in ("src_mask", "dst_mask"):
        assert found[name] == rows[name].tolist(), name
    assert (found["bgp_next_hop"], found["vlan_out"]) == (found["next_hop"], found["vlan"])
    for name, known in (("src_port", ~ping), ("dst_port", ~ping), ("tcp_flags", tcp)):
        assert found[name] == [value if told else None for value, told in zip(rows[name].tolist(), known, strict=True)], name
    kinds = np.where(rows["protocol"] == 58, 128, 8).tolist()
    assert found["icmp_type"] == [kind if told else None for kind, told in zip(kinds, ping, strict=True)]
    assert found["l2_bytes"] == sflow.frame_octets(rows).tolist()
    assert set(found["sampling_interval"]) == {float(exporter.sampling.interval)}
    for name in ("first_switched_ms", "delta_switched_ms", "last_switched_ms", "exported_ms"):
        assert found[name] == found["received_ms"], name
    assert found["flow_seq_num"] == [d.position for d in sent for _ in d.rows]


@pytest.mark.parametrize("exporter", [PLAIN, EXPANDED])
def test_decoder_reads_the_counters(exporter: Exporter) -> None:
    chatty = exporter.model_copy(update={"interfaces": 30, "template_interval_s": 2})
    sent = sent_by(tiny(chatty, rate=500))
    made = fed(sent, pack_address(exporter.address))
    made.drain()
    readings = sorted(made.take_interface_readings(), key=lambda reading: (reading.received_ms, reading.counters.if_index))
    first = exporter.first_if_index
    assert [reading.counters.if_index for reading in readings] == 3 * list(range(first, first + 30))
    rows = rows_of([d for d in sent if d.sent_ms < START_MS + 4_000 and not d.counters])
    octets = exporter.sampling.interval * sflow.frame_octets(rows)
    for reading in readings[-30:]:
        counters = reading.counters
        for end, packets, total in (
            ("in_if", counters.in_unicast, counters.in_octets),
            ("out_if", counters.out_unicast, counters.out_octets),
        ):
            mine = rows[end] == counters.if_index
            assert (packets, total) == (exporter.sampling.interval * int(mine.sum()), int(octets[mine].sum()))


@st.composite
def packets(draw: st.DrawFn) -> dict[str, int]:
    version, protocol = draw(st.sampled_from([4, 6])), draw(st.sampled_from([1, 6, 17, 58, 132]))
    edges = {"src_port": 65_535, "dst_port": 65_535, "tos": 255, "direction": 1, "vlan": 4_095, "src_as": 2**32 - 1}
    wide = {"dst_as": 2**32 - 1, "src_mask": 128, "dst_mask": 128, "in_if": 2**24 - 1, "tcp_flags": 511}
    drawn = {name: draw(st.integers(0, top)) for name, top in (edges | wide).items()}
    fixed = {"ip_version": version, "protocol": protocol, "packets": 1, "out_if": drawn["in_if"] ^ 1}
    return drawn | fixed | {"bytes": draw(st.integers(60 if version == 6 else 40, 65_535))}


@given(st.lists(packets(), min_size=1, max_size=8), st.booleans())
def test_whatever_is_encoded_is_decoded(drawn: list[dict[str, int]], expanded: bool) -> None:
    ends = {4: ("10.0.0.1", "192.0.2.9", "172.16.0.1"), 6: ("2001:db8::1", "2001:db8::2", "fe80::1")}
    rows = np.concatenate([one_flow(values, *ends[values["ip_version"]]) for values in drawn])
    body, _ = sflow.encode_samples(rows, told(len(rows), expanded))
    payload = sflow.header(pack_address("192.0.2.9"), 0, 0, 0, len(rows)) + body
    found = columns(fed([Datagram(0, START_MS, 0, 1, rows, payload)], pack_address("192.0.2.9")))
    names = ("bytes", "packets", "in_if", "out_if", "direction", "vlan", "tos", "protocol", "ip_version", "src_as", "dst_as")
    assert {name: found[name] for name in names} == {name: rows[name].tolist() for name in names}
    with_ports = np.isin(rows["protocol"], (6, 17, 132))
    ports = [port if told else None for port, told in zip(rows["src_port"].tolist(), with_ports.tolist(), strict=True)]
    assert found.get("src_port", [None] * len(rows)) == ports


def play(scenario: Scenario, path: Path) -> Ledger:
    ledger = Ledger(scenario)

    def sent() -> Iterator[list[Datagram]]:
        for datagrams in Exporters(scenario, START_MS).slices():
            ledger.sent(datagrams)
            yield datagrams

    with CaptureFile(path, scenario) as capture:
        for due in deliver(scenario, START_MS, sent()):
            ledger.arrived(due)
            capture.write(due)
    return ledger


def test_the_ledger_counts_datagrams_and_samples(tmp_path: Path) -> None:
    fleet = (PLAIN.model_copy(update={"template_interval_s": 1, "datagram_bytes": 256}),)
    ledger = play(tiny(*fleet, rate=500, network=Network(loss=0.2, duplicate=0.1)), tmp_path / "a.pcap")
    (sent,), (account,) = ledger.exporters(), ledger.accounts()
    assert account.unit == "datagrams"
    assert account.received_units == account.datagrams
    assert 0 < account.missing_units <= sent.datagrams - account.datagrams
    assert 0 < account.missing_samples <= sent.flows - account.flows
    assert account.missing_samples > 0.9 * (sent.flows - account.flows)
    assert 0 < account.counter_samples < sent.counter_samples == 15


def test_from_capture_to_documents(tmp_path: Path) -> None:
    """The product's decoder over a capture, judged by the oracle, against the answer that the generator gave without it."""
    scenario = tiny(PLAIN, EXPANDED, rate=200, network=Network(loss=0.05, duplicate=0.05, reorder=0.05, reorder_ms=400))
    with CaptureFile(tmp_path / "a.pcap", scenario) as capture:

        def write(arrivals: list[Any]) -> int:
            capture.write(arrivals)
            return len(arrivals)

        start_ms = START_MS + 58_000  # a minute ends in between
        answer = Player(scenario, start_ms, lambda _doing, _reached: None, lambda: False).to_network(write, with_answer=True).answer
    assert answer is not None
    oracle = Oracle()
    for _, entry in entries_of_capture(tmp_path / "a.pcap", Ingest(), 16, "c"):
        oracle.take_entry(entry)
    assert differences(oracle.answer().documents, answer) == []
    assert {document["window_start_ms"] for document in answer.documents} == {START_MS, START_MS + 60_000}
    totals = Counter[str]()
    for line in answer.totals():
        totals[str(line["exporter_addr"])] += int(line["bytes_total"] or 0) if line["if_index"] is None else 0
    sampled = [row for _, e in entries_of_capture(tmp_path / "a.pcap", Ingest(), 16, "c") for row in decode(e)[1].to_pylist()]
    octets = sum(row["bytes"] for row in sampled if row["exporter_addr"] == pack_address("2001:db8::4"))
    assert totals["2001:db8::4"] == 1000 * octets > 0


_TSHARK_FIELDS: Final = {
    "sflow_245.sequence_number": None,
    "sflow.flow_sample.sequence_number": "sequence",
    "sflow.flow_sample.sampling_rate": "rate",
    "sflow.flow_sample.sample_pool": "pool",
    "sflow.flow_sample.dropped_packets": "drops",
    "sflow_245.vlan.in": "vlan",
    "sflow_245.nexthop.src_mask": "src_mask",
    "sflow_245.nexthop.dst_mask": "dst_mask",
    "sflow_245.srcAS": "src_as",
    "sflow_245.header.frame_length": "frame",
}


@pytest.mark.parametrize("exporter", [PLAIN, EXPANDED])
def test_tshark_reads_every_field(tmp_path: Path, tshark: str, exporter: Exporter) -> None:
    scenario, path = tiny(exporter, duration_s=3), tmp_path / "a.pcap"
    with CaptureFile(path, scenario) as capture:
        for due in deliver(scenario, START_MS, Exporters(scenario, START_MS).slices()):
            capture.write(due)
    inputs = "sflow.flow_sample.input_interface" + ("_value" if exporter.expanded_samples else "")
    names = [*_TSHARK_FIELDS, inputs, "sflow_245.nexthop", "sflow_245.nexthop.v6", "ip.checksum.status", "_ws.malformed"]
    command = [tshark, "-n", "-r", str(path), "-d", "udp.port==9999,sflow", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
    parts = [part for name in names for part in ("-e", name)]
    shown = subprocess.run([*command, *parts], check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()
    agents = Agents([exporter])
    for line, datagram in zip(shown, sent_by(scenario), strict=True):
        cells = dict(zip(names, (cell.split(",") if cell else [] for cell in line.split("\t")), strict=True))
        rows, said = datagram.rows, agents.told(datagram.rows)
        assert cells["_ws.malformed"] == []
        assert set(cells["ip.checksum.status"]) <= {"1"}
        assert cells["sflow_245.sequence_number"] == [str(datagram.position)]
        meant: dict[str, Any] = {name: getattr(said, name) for name in ("sequence", "rate", "pool", "drops")}
        meant |= {name: rows[name] for name in ("vlan", "src_mask", "dst_mask", "src_as")} | {"frame": sflow.frame_octets(rows)}
        for name, column in _TSHARK_FIELDS.items():
            assert column is None or list(map(int, cells[name])) == meant[column].tolist(), name
        assert list(map(int, cells[inputs])) == rows["in_if"].tolist()
        # the router and the gateway record of each sample name it
        assert len(cells["sflow_245.nexthop"]) + len(cells["sflow_245.nexthop.v6"]) == 2 * len(rows)
    assert sum(len(datagram.rows) for datagram in sent_by(scenario)) > 250
