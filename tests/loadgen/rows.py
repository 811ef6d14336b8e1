"""True flows for tests, made by hand."""

from typing import Final

import numpy as np

from common.addresses import pack_address
from ingest.loadgen.records import RECORD, Rows
from ingest.loadgen.scenario import Exporter, Network, Scenario

START_MS: Final = 1_767_225_600_000


def one_flow(values: dict[str, int], src: str = "10.0.0.1", dst: str = "192.0.2.9", next_hop: str = "172.16.0.1") -> Rows:
    row = np.zeros(1, dtype=RECORD)
    for name, address in (("src_addr", src), ("dst_addr", dst), ("next_hop", next_hop)):
        row[name][0] = np.frombuffer(pack_address(address), dtype=np.uint8)
    for name, value in values.items():
        row[name] = value
    return row


FULL: Final = {
    "src_port": 443,
    "dst_port": 50_000,
    "protocol": 6,
    "ip_version": 4,
    "tos": 0x2A,
    "direction": 1,
    "in_if": 3,
    "out_if": 7,
    "vlan": 101,
    "tcp_flags": 0x1B,
    "bytes": 70_000,
    "packets": 50,
    "src_as": 64_512,
    "dst_as": 196_615,
    "src_mask": 24,
    "dst_mask": 20,
    "flow_end_reason": 3,
}


UNHARMED: Final = Network()


def tiny(*exporters: Exporter, seed: int = 1, rate: float = 100, duration_s: float = 5, network: Network = UNHARMED) -> Scenario:
    return Scenario(
        name="tiny",
        seed=seed,
        rate=rate,
        duration_s=duration_s,
        exporters=exporters or (Exporter(address="127.9.0.1", protocol="ipfix", interfaces=2),),
        network=network,
        inside_hosts=10,
        outside_hosts=10,
    )
