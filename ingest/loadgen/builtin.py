"""The built-in scenarios: a table."""

from typing import Final

from ingest.loadgen.scenario import Collector, Exporter, Network, Oddities, Sampling, Scenario

_MIXED: Final = (
    Exporter(
        address="127.10.0.1",
        protocol="netflow5",
        count=2,
        interfaces=4,
        time_fields="uptime",
        sampling=Sampling(interval=10, via="header"),
    ),
    Exporter(address="127.10.1.1", protocol="netflow9", count=3, interfaces=6, time_fields="uptime", direction="both", share=2),
    Exporter(
        address="127.10.1.11",
        protocol="netflow9",
        domain=7,
        interfaces=4,
        sampling=Sampling(interval=100, via="options"),
        timeouts_via="options",
    ),
    Exporter(address="127.10.2.1", protocol="ipfix", count=3, domain=1, interfaces=8, direction="unknown", share=2),
    Exporter(
        address="127.10.2.11",
        protocol="ipfix",
        domain=42,
        interfaces=4,
        sampling=Sampling(interval=64, via="sampler"),
        timeouts_via="record",
        whole_flow_start=True,
    ),
    Exporter(address="127.10.3.1", protocol="sflow", interfaces=8, sampling=Sampling(interval=64, via="record")),
    Exporter(
        address="127.10.3.2",
        protocol="sflow",
        domain=1,
        interfaces=6,
        first_if_index=1_073_741_825,
        expanded_samples=True,
        direction="both",
        sampling=Sampling(interval=256, via="record"),
    ),
)

_SMALL: Final = (
    Exporter(address="127.11.0.1", protocol="netflow5", interfaces=3, uptime_s=4_294_937, active_timeout_s=30),
    Exporter(
        address="127.11.1.1",
        protocol="netflow9",
        interfaces=4,
        time_fields="uptime",
        direction="both",
        sampling=Sampling(interval=10, via="options"),
    ),
    Exporter(
        address="127.11.1.2",
        protocol="netflow9",
        domain=3,
        interfaces=3,
        sampling=Sampling(interval=50, via="sampler"),
        timeouts_via="record",
        whole_flow_start=True,
    ),
    Exporter(address="127.11.2.1", protocol="ipfix", domain=1, interfaces=4, direction="unknown", clock_offset_ms=10_000),
    Exporter(
        address="127.11.2.2",
        protocol="ipfix",
        domain=2,
        interfaces=3,
        direction="egress",
        sampling=Sampling(interval=3, via="record"),
        clock_offset_ms=-3_600_000,
    ),
    Exporter(
        address="127.11.4.1",
        protocol="sflow",
        interfaces=4,
        direction="both",
        sampling=Sampling(interval=20, via="record"),
        drops=0.01,
        template_interval_s=10,
    ),
)

_TWO: Final = (Collector(name="east"), Collector(name="west"))

_SCENARIOS: Final = (
    Scenario(
        name="demo",
        help="Twelve routers and switches of every protocol at 2,000 flows a second, for three minutes.",
        rate=2_000,
        duration_s=180,
        exporters=_MIXED,
    ),
    Scenario(
        name="small",
        help="Six exporters with every kind of sampling, wrong clocks and a wrapping uptime; 12,000 flows.",
        rate=200,
        duration_s=60,
        exporters=_SMALL,
        inside_hosts=40,
        outside_hosts=60,
    ),
    Scenario(
        name="campus",
        help="200 exporters with 2,000 interfaces, IPFIX, v9 and sFlow, long flows, two collectors.",
        rate=20_000,
        duration_s=120,
        exporters=(
            Exporter(address="127.20.0.1", protocol="ipfix", count=110, interfaces=10, direction="both", active_timeout_s=120),
            Exporter(address="127.20.2.1", protocol="netflow9", count=70, interfaces=10, time_fields="uptime", ipv6_share=0.1),
            Exporter(
                address="127.20.4.1",
                protocol="ipfix",
                count=10,
                interfaces=10,
                share=10,
                sampling=Sampling(interval=1000, via="sampler"),
            ),
            Exporter(
                address="127.20.5.1", protocol="sflow", count=10, interfaces=10, sampling=Sampling(interval=512, via="record")
            ),
        ),
        inside_hosts=30_000,
        outside_hosts=200_000,
        long_share=0.1,
        collectors=_TWO,
    ),
    Scenario(
        name="skewed",
        help="One exporter and two interfaces carry nearly everything, over very many hosts.",
        rate=5_000,
        duration_s=120,
        exporters=(
            Exporter(address="127.30.0.1", protocol="ipfix", interfaces=2, share=95),
            Exporter(address="127.30.0.2", protocol="netflow9", count=5, interfaces=4, time_fields="uptime"),
        ),
        inside_hosts=100_000,
        outside_hosts=500_000,
        host_skew=0.6,
    ),
    Scenario(
        name="lossy",
        help="Loss, duplicates, reordering, late templates, a restart, two collectors of which one drains an outage.",
        rate=300,
        duration_s=180,
        exporters=(
            *_SMALL,
            Exporter(address="127.11.3.1", protocol="ipfix", template_delay_ms=3_000, interfaces=3),
            Exporter(address="127.11.3.2", protocol="netflow9", restart_at_s=60, first_sequence=100_000, interfaces=3),
        ),
        inside_hosts=200,
        outside_hosts=300,
        network=Network(loss=0.05, duplicate=0.02, reorder=0.05, reorder_ms=400),
        collectors=(
            Collector(name="east", repeat=0.02),
            Collector(name="west", outage_from_s=40, outage_to_s=150, restart_at_s=20),
        ),
        split="datagrams",
        oddities=Oddities(future=0.01, reversed=0.01, old=0.05),
    ),
    Scenario(
        name="bench",
        help="50 exporters, 400 interfaces, 24 records a datagram, as fast as this machine can: for measurements.",
        rate=300_000,
        duration_s=10,
        exporters=(
            Exporter(address="127.40.0.1", protocol="netflow9", count=25, interfaces=8, time_fields="uptime", ipv6_share=0),
            Exporter(address="127.40.1.1", protocol="ipfix", count=25, interfaces=8, ipv6_share=0),
        ),
        inside_hosts=20_000,
        outside_hosts=100_000,
        long_share=0.02,
    ),
)

BUILTIN: Final = {scenario.name: scenario for scenario in _SCENARIOS}
