"""Flows and batches as the oracle reads them: plain values, one object per flow."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from flowpb.codec import decode


@dataclass(frozen=True, slots=True)
class Flow:
    """What the numbers depend on; addresses are 16 octets, None is null."""

    exporter: bytes
    first_ms: int
    last_ms: int
    delta_ms: int | None = None
    correction_ms: int | None = None
    location: str | None = None
    src_addr: bytes | None = None
    dst_addr: bytes | None = None
    src_port: int | None = None
    dst_port: int | None = None
    protocol: int | None = None
    tos: int | None = None
    in_if: int | None = None
    out_if: int | None = None
    direction: int | None = None
    bytes: int | None = None
    packets: int | None = None
    sampling_interval: float | None = None
    columns: Mapping[str, object] = field(default_factory=dict)

    def value(self, column: str) -> str | int | None:
        """Any other column; addresses as text."""
        value = self.protocol if column == "protocol" else self.columns.get(column)
        if isinstance(value, bytes):
            return address_text(value) if len(value) == 16 else value.hex(":")
        return value if isinstance(value, str | int) else None


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a lane's log; `append_ms` is the clock of the bus when it took it, None where it does not matter."""

    lane: int
    collector: str
    epoch: int
    seq: int
    mark_ms: int
    flows: tuple[Flow, ...]
    append_ms: int | None = None


_READ = {"exporter_addr", "bytes", "packets", "sampling_interval", "extras"}


def read_entry(entry: bytes, append_ms: int | None = None) -> Batch:
    """A bus entry as a batch; raises flowpb's ContractError."""
    header, records = decode(entry)
    flows = tuple(
        Flow(
            exporter=row["exporter_addr"],
            first_ms=row["first_switched_ms"],
            last_ms=row["last_switched_ms"],
            delta_ms=row.get("delta_switched_ms"),
            correction_ms=row.get("clock_correction_ms"),
            location=row.get("location"),
            src_addr=row.get("src_addr"),
            dst_addr=row.get("dst_addr"),
            src_port=row.get("src_port"),
            dst_port=row.get("dst_port"),
            protocol=row.get("protocol"),
            tos=row.get("tos"),
            in_if=row.get("in_if"),
            out_if=row.get("out_if"),
            direction=row.get("direction"),
            bytes=row.get("bytes"),
            packets=row.get("packets"),
            sampling_interval=row.get("sampling_interval"),
            columns={name: value for name, value in row.items() if value is not None and name not in _READ},
        )
        for row in records.to_pylist()
    )
    return Batch(header.lane, header.collector, header.epoch, header.seq, header.mark_ms, flows, append_ms)


def address_text(address: bytes | None) -> str | None:
    """Text of 16 octets: dotted where they hold an IPv4 address, else after RFC 5952."""
    if address is None:
        return None
    if address[:12] == bytes(10) + b"\xff\xff":
        return str(ipaddress.IPv4Address(address[12:]))
    return str(ipaddress.IPv6Address(address))
