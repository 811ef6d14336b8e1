"""Exporter settings by network: the longest prefix wins value by value, and whole columns follow."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from common.addresses import pack_address
from common.config import ExporterSettings, Ingest
from flowpb.schema import INGEST_SCHEMA, Direction, SamplingSource
from ingest.egress_metering import INTERFACES, EgressMetering
from ingest.exporter_rules import ExporterRules
from ingest.listeners.sources import Network, admit_networks
from tests.ingest.plain_flows import ipv4, make_flows


def rules(*entries: ExporterSettings) -> ExporterRules:
    return ExporterRules(Ingest(location="home", exporter_settings=entries))


def flows_of(exporters: int, **columns: pa.Array) -> pa.RecordBatch:
    flows = make_flows(6, exporters)
    for name, column in columns.items():
        place = sum(INGEST_SCHEMA.names.index(each) < INGEST_SCHEMA.names.index(name) for each in flows.schema.names)
        flows = flows.add_column(place, name, column)
    return flows


def test_the_longest_prefix_gives_each_value() -> None:
    under_test = rules(
        ExporterSettings(networks=("10.0.0.0/8", "2001:db8::/32"), location="wide", name="all", sampling_interval=10),
        ExporterSettings(networks=("10.0.0.1",), location="narrow", address="192.0.2.9"),
    )
    one = under_test.of(ipv4(1))
    assert (one.location, one.name, one.sampling_interval) == ("narrow", "all", 10)
    assert under_test.identity_of(ipv4(1)) == pack_address("192.0.2.9")
    assert under_test.identity_of(ipv4(2)) == ipv4(2)
    assert under_test.location_of(pack_address("2001:db8::5")) == "wide"
    assert under_test.location_of(pack_address("2001:db9::5")) == "home"


def test_location_is_looked_up_by_exporter_and_stands_at_its_place() -> None:
    located = rules(ExporterSettings(networks=("10.0.0.1/32",), location="north")).apply(make_flows(6, exporters=3))
    assert located.column("location").to_pylist() == ["home", "north", "home"] * 2
    assert located.schema.names == ["received_ms", "exporter_addr", "location", "src_addr", "bytes"]


def test_sampling_override_and_fallback() -> None:
    flows = flows_of(3, sampling_interval=pa.array([5.0, None, 5.0, None, 5.0, 5.0]))
    under_test = rules(
        ExporterSettings(networks=("10.0.0.0",), sampling_interval=100),
        ExporterSettings(networks=("10.0.0.1",), sampling_fallback=7),
    )
    changed = under_test.apply(flows)
    assert changed.column("sampling_interval").to_pylist() == [100.0, 7.0, 5.0, 100.0, 5.0, 5.0]
    config = int(SamplingSource.CONFIG)
    assert changed.column("sampling_source").to_pylist() == [config, config, None, config, None, None]


def test_direction_default_clock_and_active_timeout() -> None:
    unsaid = int(Direction.UNKNOWN)
    flows = flows_of(
        2,
        direction=pa.array([unsaid, unsaid, 0, None, None, 1], pa.uint8()),
        last_switched_ms=pa.array(np.full(6, 100_000)),
        delta_switched_ms=pa.array(np.arange(6) * 20_000),
    )
    entry = ExporterSettings(networks=("10.0.0.0",), direction="egress", clock_correction_ms=-500, active_timeout_s=60)
    changed = rules(entry).apply(flows)
    assert changed.column("direction").to_pylist() == [1, unsaid, 0, None, 1, 1]
    assert changed.column("clock_correction_ms").to_pylist() == [-500, None] * 3
    assert changed.column("delta_switched_ms").to_pylist() == [40_000, 20_000, 40_000, 60_000, 80_000, 100_000]
    for column in changed.schema:
        assert column.type == INGEST_SCHEMA.field(column.name).type


@pytest.mark.parametrize("networks", [(), ("10.0.0.1/8",), ("host",)])
def test_wrong_networks_are_refused(networks: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="networks"):
        ExporterSettings(networks=networks)


def test_allowed_networks() -> None:
    assert admit_networks([])(ipv4(1))
    admit = admit_networks(["10.0.0.0/31", "2001:db8::/32"])
    assert [admit(ipv4(n)) for n in range(3)] == [True, True, False]
    assert admit(pack_address("2001:db8::1"))
    assert not admit(pack_address("2001:db9::1"))
    assert pack_address("8.8.8.8") in Network("0.0.0.0/0")
    assert pack_address("::1") not in Network("0.0.0.0/0")


IN, OUT, UNSAID = (int(each) for each in Direction)


def both_interfaces(accounting: str, *parts: tuple[list[int], list[int]]) -> list[list[int]]:
    """Directions after the rules, of batches of (direction, output interface)."""
    entry = ExporterSettings(networks=("10.0.0.0",), interface_accounting=accounting)
    under_test = rules(entry)
    found = []
    for directions, interfaces in parts:
        columns = {"direction": pa.array(directions, pa.uint8()), "out_if": pa.array(interfaces, pa.uint32())}
        found.append(under_test.apply(flows_of(2, **columns)).column("direction").to_pylist())
        under_test = ExporterRules(Ingest(exporter_settings=(entry,)), under_test)
    return found


def test_flows_that_count_at_both_interfaces_have_no_direction() -> None:
    directions, interfaces = [IN, IN, OUT, OUT, UNSAID, IN], [3] * 6
    assert both_interfaces("both_sides", (directions, interfaces)) == [[UNSAID, IN, OUT, OUT, UNSAID, IN]]
    assert both_interfaces("plain", (directions, interfaces)) == [directions]


def test_interfaces_that_meter_egress_need_no_second_count() -> None:
    first = ([IN, OUT, IN, OUT, OUT, OUT], [3, 4, 4, 3, 5, 3])
    later = ([IN] * 6, [3, 3, 5, 3, 4, 3])
    assert both_interfaces("auto", first, later, later) == [
        [UNSAID, OUT, UNSAID, OUT, OUT, OUT],
        [UNSAID, IN, IN, IN, UNSAID, IN],
        [UNSAID, IN, IN, IN, UNSAID, IN],
    ]


def test_egress_metering_is_remembered_in_bounded_number() -> None:
    metering = EgressMetering()
    exporters = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1, np.int32)), pa.array([ipv4(1)], pa.binary(16)))
    egress, ingress = np.ones(INTERFACES + 1, bool), np.zeros(1, bool)
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(INTERFACES + 1, np.int32)), exporters.dictionary)
    metering.metered(many, np.arange(INTERFACES + 1, dtype=np.uint32), egress)
    known = [metering.metered(exporters, np.array([number], np.uint32), ingress)[0] for number in (0, INTERFACES)]
    assert known == [False, True]
