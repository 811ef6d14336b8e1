"""Exporters at work: sequence numbers, header times, templates, and the same traffic for the same seed."""

import struct
from itertools import pairwise

import dpkt
import pytest

from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.export import Datagram, Exporters
from ingest.loadgen.scenario import Exporter, Sampling, Scenario
from ingest.loadgen.traffic import Traffic
from tests.loadgen.rows import START_MS, tiny


def datagrams(scenario: Scenario, start_ms: int = START_MS) -> list[Datagram]:
    return [datagram for part in Exporters(scenario, start_ms).slices() for datagram in part]


def test_same_seed_same_octets() -> None:
    scenario = BUILTIN["small"].model_copy(update={"duration_s": 3.0})
    first, second = datagrams(scenario), datagrams(scenario)
    assert [d.payload for d in first] == [d.payload for d in second]
    other = datagrams(scenario.model_copy(update={"seed": 2}))
    assert [d.payload for d in first] != [d.payload for d in other]


def test_without_encoding_only_the_payload_is_missing() -> None:
    scenario = tiny()
    bare = [datagram for part in Exporters(scenario, START_MS, encode=False).slices() for datagram in part]
    full = datagrams(scenario)
    assert [(d.exporter, d.sent_ms, d.position, d.units, d.rows.tobytes()) for d in bare] == [
        (d.exporter, d.sent_ms, d.position, d.units, d.rows.tobytes()) for d in full
    ]
    assert {d.payload for d in bare} == {b""}


def test_rate_and_duration() -> None:
    sent = datagrams(tiny(rate=333, duration_s=7.5))
    assert sum(len(datagram.rows) for datagram in sent) == pytest.approx(333 * 7.5, rel=0.02)
    assert all(START_MS <= datagram.sent_ms < START_MS + 7_500 for datagram in sent)
    assert all(a.sent_ms <= b.sent_ms for a, b in pairwise(sent))


def test_shares_of_exporters() -> None:
    one = Exporter(address="127.9.0.1", protocol="ipfix", share=9)
    two = Exporter(address="127.9.0.2", protocol="ipfix", share=1)
    sent = datagrams(tiny(one, two, rate=2000))
    heavy = sum(len(d.rows) for d in sent if d.exporter == 0)
    assert heavy / sum(len(d.rows) for d in sent) == pytest.approx(0.9, abs=0.02)


def test_a_long_flow_is_cut_without_gaps() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="ipfix", active_timeout_s=2)
    traffic = Traffic(tiny(exporter, rate=50).model_copy(update={"long_share": 1.0}), START_MS)
    cuts: dict[bytes, list[tuple[int, int]]] = {}
    for number in range(8):
        for row in traffic.slice(number):
            key = b"".join(row[name].tobytes() for name in ("src_addr", "dst_addr", "src_port", "dst_port", "in_if"))
            cuts.setdefault(key, []).append((int(row["delta_ms"]), int(row["last_ms"])))
    assert len(cuts) > 50
    for parts in cuts.values():
        assert all(end - begin == 2_000 for begin, end in parts)
    chains = [sorted(parts) for parts in cuts.values() if len(parts) == 4]
    assert chains
    assert all(before[1] == after[0] for parts in chains for before, after in pairwise(parts))


def test_sizes_have_a_heavy_tail() -> None:
    octets = sorted((int(n) for d in datagrams(tiny(rate=5_000, duration_s=4)) for n in d.rows["bytes"]), reverse=True)
    assert sum(octets[: len(octets) // 100]) > 0.4 * sum(octets)


def test_netflow5_sequence_counts_flows_and_starts_where_told() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="netflow5", time_fields="uptime", first_sequence=2**32 - 20)
    position = 2**32 - 20
    for datagram in datagrams(tiny(exporter)):
        version, count = struct.unpack_from("!HH", datagram.payload)
        assert (version, count) == (5, len(datagram.rows))
        assert len(datagram.payload) == 24 + 48 * count
        assert struct.unpack_from("!I", datagram.payload, 16) == (position & 0xFFFFFFFF,)
        position += count
    assert position > 2**32


def test_netflow5_against_dpkt() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="netflow5", sampling=Sampling(interval=10, via="header"), domain=0x0102)
    for datagram in datagrams(tiny(exporter)):
        packet = dpkt.netflow.Netflow5(datagram.payload)
        assert packet.unix_sec * 1000 + packet.unix_nsec // 1_000_000 == datagram.sent_ms
        assert packet.sys_uptime == 86_400_000 + datagram.sent_ms - START_MS
        boot = datagram.sent_ms - packet.sys_uptime
        for record, row in zip(packet.data, datagram.rows, strict=True):
            assert record.src_addr.to_bytes(4, "big") == row["src_addr"][12:].tobytes()
            assert (record.bytes_sent, record.pkts_sent) == (row["bytes"], row["packets"])
            assert (boot + record.start_time, boot + record.end_time) == (row["first_ms"], row["last_ms"])
            assert (record.src_port, record.dst_port, record.ip_proto) == (row["src_port"], row["dst_port"], row["protocol"])
            assert (record.input_iface, record.output_iface, record.tos) == (row["in_if"], row["out_if"], row["tos"])


def test_netflow9_sequence_counts_packets() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="netflow9", time_fields="uptime", domain=9)
    for number, datagram in enumerate(datagrams(tiny(exporter))):
        version, _, _, seconds, sequence, source = struct.unpack_from("!HHIIII", datagram.payload)
        assert (version, seconds, sequence, source) == (9, datagram.sent_ms // 1000, number, 9)
        assert len(datagram.payload) % 4 == 0


def test_ipfix_sequence_counts_data_records_with_options() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="ipfix", interfaces=2, template_interval_s=2, domain=9)
    sent, position = datagrams(tiny(exporter)), 0
    for datagram in sent:
        version, length, _, sequence, domain = struct.unpack_from("!HHIII", datagram.payload)
        assert (version, length, sequence, domain) == (10, len(datagram.payload), position, 9)
        position += len(datagram.rows) or 2  # two interface names
    assert [d.sent_ms - START_MS for d in sent if d.announces] == [0, 2_000, 4_000]


def test_templates_may_be_late() -> None:
    sent = datagrams(tiny(Exporter(address="127.9.0.1", protocol="ipfix", template_delay_ms=1_500)))
    assert not sent[0].announces
    assert [d.sent_ms - START_MS for d in sent if d.announces] == [1_500]


def test_a_restart_forgets_flows_uptime_and_sequence() -> None:
    exporter = Exporter(address="127.9.0.1", protocol="netflow9", time_fields="uptime", restart_at_s=3, first_sequence=500)
    sent = datagrams(tiny(exporter, rate=2_000))
    old = [d for d in sent if d.sent_ms < START_MS + 3_000]
    new = [d for d in sent if d.sent_ms >= START_MS + 3_000]
    assert [d.position for d in old] == list(range(500, 500 + len(old)))
    assert [d.position for d in new] == list(range(len(new)))
    assert ({d.life for d in old}, {d.life for d in new}) == ({0}, {1})
    assert new[0].announces
    assert [struct.unpack_from("!I", d.payload, 4)[0] for d in new] == [d.sent_ms - START_MS - 3_000 for d in new]
    assert min(int(first) for d in new for first in d.rows["first_ms"]) >= START_MS + 3_000


def test_datagrams_keep_to_their_size() -> None:
    fat = Exporter(address="127.9.0.1", protocol="ipfix", ipv6_share=1, records_per_datagram=30)
    small = Exporter(address="127.9.0.2", protocol="netflow9", time_fields="uptime", records_per_datagram=3)
    sent = datagrams(tiny(fat, small, rate=2_000))
    assert max(len(d.payload) for d in sent if d.exporter == 0 and not d.announces) <= 1464 + 20
    assert max(len(d.rows) for d in sent if d.exporter == 1) == 3


def test_the_clock_of_an_exporter_shifts_what_it_says_and_nothing_else() -> None:
    right = datagrams(tiny(Exporter(address="127.9.0.1", protocol="ipfix")))
    wrong = datagrams(tiny(Exporter(address="127.9.0.1", protocol="ipfix", clock_offset_ms=7_000)))
    assert [d.sent_ms for d in right] == [d.sent_ms for d in wrong]
    seconds = [struct.unpack_from("!I", d.payload, 4)[0] for d in wrong]
    assert seconds == [struct.unpack_from("!I", d.payload, 4)[0] + 7 for d in right]
