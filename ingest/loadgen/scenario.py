"""Scenarios: what is generated, as frozen data.

In: a YAML file or the name of a built-in one. Out: a `Scenario`, or a ConfigError with every fault at once. Refuses to know how
traffic, datagrams and answers are made of it. A scenario, its seed and a start time fix every octet that is generated.
"""

import ipaddress
from pathlib import Path
from typing import Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from common.errors import ConfigError

Protocol = Literal["netflow5", "netflow9", "ipfix", "sflow"]

_SUFFIXES: Final = (".yaml", ".yml")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sampling(_Part):
    """How an exporter samples and where it says so."""

    interval: int = Field(1, ge=1, le=1 << 24, description="One packet of this many is seen; v5 has 14 bits for it.")
    via: Literal["none", "record", "options", "sampler", "header"] = Field(
        "none",
        description="record: element 34; options: 34 and 35 of the system or domain; sampler: a sampler table (48-50, or 302 and "
        "304-306) that records refer to; header: the header of v5. sFlow: each sample says it, none and record alike.",
    )


class Exporter(_Part):
    """One export process, or `count` alike ones at consecutive addresses."""

    address: str = Field(description="Source address of its datagrams.")
    protocol: Protocol = Field(description="What it speaks.")
    count: int = Field(1, ge=1, le=65_536, description="So many alike, at consecutive addresses.")
    domain: int = Field(
        0, ge=0, le=0xFFFFFFFF, description="Source id, observation domain or sub-agent; v5: engine type x 256 + engine id."
    )
    share: float = Field(1.0, gt=0, description="Weight of its flows against those of other exporters.")
    interfaces: int = Field(4, ge=2, le=65_535, description="Interfaces; a few of them carry most of the traffic.")
    first_if_index: int = Field(1, ge=0, description="ifIndex of its first interface.")
    direction: Literal["ingress", "egress", "both", "unknown"] = Field(
        "ingress",
        description="Where flows are metered; both: either by chance; unknown: not exported. v5 cannot say it, sFlow has to.",
    )
    sampling: Sampling = Field(Sampling(), description="Packet sampling.")
    clock_offset_ms: int = Field(0, multiple_of=1000, description="Its clock minus the true time.")
    uptime_s: int = Field(86_400, ge=0, description="It booted so long before the scenario starts.")
    restart_at_s: int | None = Field(
        None, ge=1, description="It boots again then: its flows are lost, uptime and sequence start at 0, templates come at once."
    )
    active_timeout_s: int = Field(60, ge=1, le=1800, description="Long flows are cut and exported this often.")
    inactive_timeout_s: int = Field(
        15, ge=1, le=600, description="A flow that does not end by itself is exported after this silence."
    )
    timeouts_via: Literal["none", "record", "options"] = Field("none", description="Whether elements 36 and 37 are exported.")
    whole_flow_start: bool = Field(False, description="A cut flow says when the whole flow began, not this part of it.")
    ipv6_share: float = Field(0.25, ge=0, le=1, description="Share of IPv6 flows; none in v5.")
    time_fields: Literal["uptime", "milliseconds", "seconds"] = Field(
        "milliseconds", description="Elements of flow times: 21/22, 152/153 or 150/151. v5 has uptime only, IPFIX the others."
    )
    records_per_datagram: int = Field(24, ge=1, le=30, description="Most flow records or samples in a datagram.")
    datagram_bytes: int = Field(1464, ge=256, le=9000, description="Most octets of records in a datagram.")
    template_interval_s: int = Field(20, ge=1, description="Templates and options, or counter samples, are sent this often.")
    template_delay_ms: int = Field(
        0, ge=0, description="The first of them come so long after the start: data has to wait for them."
    )
    first_sequence: int = Field(0, ge=0, le=0xFFFFFFFF, description="Its sequence counter when the scenario starts.")
    expanded_samples: bool = Field(False, description="sFlow: the expanded form, for an ifIndex of more than 24 bits.")
    drops: float = Field(0.0, ge=0, le=0.9, description="sFlow: share of samples that the agent gives up and only counts.")
    interface_names: bool = Field(True, description="Send elements 82 and 83 of its interfaces as options.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        ipaddress.ip_address(self.address)
        if self.protocol == "netflow5" and self.sampling.via not in ("none", "header"):
            raise ValueError(f"netflow5 cannot carry sampling via {self.sampling.via}")
        if self.protocol == "netflow5" and self.sampling.interval >= 1 << 14:
            raise ValueError("netflow5 has 14 bits for a sampling interval")
        if self.protocol != "netflow5" and self.sampling.via == "header":
            raise ValueError(f"{self.protocol} has no sampling in its header")
        if self.protocol == "netflow5" and (self.timeouts_via != "none" or self.domain > 0xFFFF):
            raise ValueError("netflow5 carries no timeouts, and 16 bits of domain")
        if self.protocol == "ipfix" and self.time_fields == "uptime":
            raise ValueError("ipfix has no system uptime in its header")
        if self.protocol == "sflow":
            self._is_possible_in_sflow()
        elif self.sampling.via == "none" and self.sampling.interval != 1:
            raise ValueError("a sampling interval needs a way to be exported (sampling.via)")
        return self

    def _is_possible_in_sflow(self) -> None:
        if self.sampling.via not in ("none", "record"):
            raise ValueError("sflow says its sampling in every sample (sampling.via: record)")
        if self.direction == "unknown" or self.timeouts_via != "none" or self.whole_flow_start:
            raise ValueError("sflow samples one packet at one interface: it has a direction, no timeouts and no whole flow")
        if self.clock_offset_ms:
            raise ValueError("sflow tells no time that a clock offset could show in")
        if not self.expanded_samples and self.first_if_index + self.interfaces > 1 << 24:
            raise ValueError("sflow has 24 bits for an interface without expanded_samples")


class Network(_Part):
    """What happens between exporters and collectors; templates and options are never lost, delayed or doubled."""

    loss: float = Field(0.0, ge=0, lt=1, description="Share of datagrams that never arrive.")
    duplicate: float = Field(0.0, ge=0, lt=1, description="Share of datagrams that arrive twice.")
    reorder: float = Field(0.0, ge=0, lt=1, description="Share of datagrams that arrive late.")
    reorder_ms: int = Field(40, ge=1, le=900, description="They are late by up to this.")
    latency_ms: int = Field(1, ge=0, le=400, description="Every datagram takes this long.")


class Collector(_Part):
    """One collector; faults act on batches given to a bus."""

    name: str = Field(description="Name in batch identities.")
    restart_at_s: float | None = Field(None, gt=0, description="It starts anew then, with a larger epoch.")
    outage_from_s: float | None = Field(None, ge=0, description="From then on it cannot reach the bus and keeps its batches,")
    outage_to_s: float | None = Field(None, ge=0, description="until then, and drains them in order.")
    repeat: float = Field(0.0, ge=0, lt=1, description="Share of batches that are given to the bus twice.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.outage_from_s is None) != (self.outage_to_s is None) or (self.outage_from_s or 0) > (self.outage_to_s or 0):
            raise ValueError("an outage needs outage_from_s <= outage_to_s")
        return self


class Oddities(_Part):
    """Shares of flows with illegal or old times, for batches given to a bus only (ingest repairs what the wire says)."""

    future: float = Field(0.0, ge=0, le=1, description="Ends minutes after its export.")
    reversed: float = Field(0.0, ge=0, le=1, description="Starts after its end.")
    old: float = Field(0.0, ge=0, le=1, description="Comes up to half an hour late, whole or in part.")


class Scenario(_Part):
    """Everything that is generated; `rate` counts flow records over all exporters."""

    name: str = Field("custom", description="Its name in reports.")
    help: str = Field("", description="One sentence.")
    seed: int = Field(1, ge=0, description="Another seed gives other traffic of the same shape.")
    rate: float = Field(1000.0, gt=0, description="Flow records a second.")
    duration_s: float = Field(60.0, gt=0, description="Length in virtual time.")
    location: str = Field("Default", description="Location of the collectors.")
    exporters: tuple[Exporter, ...] = Field(description="Who exports.")
    inside_hosts: int = Field(2_000, ge=2, le=1 << 20, description="Hosts of the own network.")
    outside_hosts: int = Field(20_000, ge=2, le=1 << 20, description="Hosts elsewhere.")
    host_skew: float = Field(1.1, ge=0, le=3, description="Exponent of Zipf's law over hosts.")
    service_skew: float = Field(1.2, ge=0, le=3, description="Exponent of Zipf's law over applications.")
    unknown_share: float = Field(0.05, ge=0, le=1, description="Share of flows between ports that no service owns.")
    long_share: float = Field(0.05, ge=0, le=1, description="Share of records that are cuts of long flows.")
    network: Network = Field(Network(), description="Loss, duplicates, reordering.")
    collectors: tuple[Collector, ...] = Field((Collector(name="c1"),), min_length=1, description="Who collects.")
    split: Literal["exporters", "datagrams"] = Field("exporters", description="What is dealt out among several collectors.")
    oddities: Oddities = Field(Oddities(), description="Illegal and old times, on a bus only.")
    batch_interval_ms: int = Field(250, ge=10, le=10_000, description="A batch for a bus closes when it is this old.")
    closing_ms: int = Field(17 * 60_000, ge=0, description="Empty batches go on for so long, so that every window closes.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not self.exporters:
            raise ValueError("no exporter")
        names = [collector.name for collector in self.collectors]
        if len(set(names)) != len(names):
            raise ValueError("two collectors of one name")
        return self

    def fleet(self) -> tuple[Exporter, ...]:
        """One Exporter (count 1) per export process."""
        return tuple(
            exporter.model_copy(update={"count": 1, "address": str(ipaddress.ip_address(exporter.address) + step)})
            for exporter in self.exporters
            for step in range(exporter.count)
        )


def load_scenario(name_or_file: str, builtin: dict[str, Scenario]) -> Scenario:
    """A built-in scenario, or one of a YAML file; raises ConfigError with every fault of the file."""
    if name_or_file in builtin:
        return builtin[name_or_file]
    path = Path(name_or_file)
    if not path.exists() and path.suffix not in _SUFFIXES:
        raise ConfigError([f"scenario {name_or_file!r}: no such file, and the built-in ones are {', '.join(builtin)}"])
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Scenario.model_validate(tree)
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    except ValidationError as error:
        raise ConfigError([f"{path}: {_describe(fault)}" for fault in error.errors()]) from error


def _describe(fault: ErrorDetails) -> str:
    place = ".".join(map(str, fault["loc"])) or "top level"
    told = "no such setting" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    return f"{place}: {told[:1].lower()}{told[1:]}"
