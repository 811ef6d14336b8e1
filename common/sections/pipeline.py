"""Settings of the pipeline: windows and aggregates, what it adds to flows, and time series for others."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from common.errors import UsageError
from common.sections.groupings import Groupings
from common.sections.section import Networks, Section
from common.start import parse_start


class Pipeline(Section):
    """Windows, aggregates and raw documents."""

    flow_documents_in: str = Field(
        "",
        description="kafka://host:9092/topic of one OpenNMS FlowDocument per message, read instead of the bus.",
    )
    flow_documents_out: str = Field(
        "", description="kafka://host:9092/topic that gets every enriched flow as one OpenNMS FlowDocument; empty writes none."
    )
    start: str = Field(
        "earliest",
        description="Where a pipeline begins that has read nothing yet: earliest, latest, committed (the group's offsets), a time "
        "by the bus's clock, or PARTITION:OFFSET,... It is not asked again afterwards.",
    )
    run_interval_ms: int = Field(1000, ge=50, le=60_000, description="The embedded pipeline starts a run this often.")
    run_bytes: int = Field(64 << 20, ge=1 << 20, description="One run takes about this many octets of batches.")
    top_k: int = Field(10, ge=1, le=1000, description="Items kept per group; the rest is Other.")
    wide: bool = Field(True, description="Also aggregate per location, and over everything.")
    with_dscp: bool = Field(False, description="Also aggregate per interface and DSCP.")
    groupings: Groupings = Groupings()
    deduplicate: bool = Field(
        False, description="Location and system scope count a conversation of a location once, by the exporter that has most of it."
    )
    edge_only: bool = Field(
        False, description="Location and system scope count at interfaces only whose side is external in enrichment.inventory."
    )
    both_sides: bool = Field(False, description="Count an ingress flow as out-traffic of its output interface, too.")
    candidates_young: int = Field(256, ge=16, description="Items kept per group while a window is young.")
    candidates_old: int = Field(64, ge=16, description="Items kept per group later; at least 2 x top_k is kept.")
    items_young: int = Field(
        16_384, ge=0, description="Few groups share this many items per lane, window and kind while it is young."
    )
    items_old: int = Field(4_096, ge=0, description="The same later.")
    raw: bool = Field(True, description="Keep raw flow records, too.")
    repair_after_s: int | None = Field(
        300, ge=0, description="Windows are repaired this long after the last flow that was late for them; null never does it."
    )
    watch_host: str = Field("127.0.0.1", description="Address of /metrics and /healthz of the embedded pipeline.")
    watch_port: int | None = Field(None, ge=0, le=65535, description="Their port; 0 takes a free one, null serves none of them.")

    @field_validator("start")
    @classmethod
    def _start_is_understood(cls, start: str) -> str:
        try:
            parse_start(start, 0)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return start


class Enrichment(Section):
    """What the pipeline adds to flows: applications, localities."""

    rules: str = Field("", description="Classification rules, a CSV or YAML file; empty takes the pre-defined ones alone.")
    private_networks: Networks = Field((), description="Networks that count as private; empty takes those of the RFCs.")
    inventory: str = Field("", description="Snapshot made by `nephrite inventory`; empty adds nothing of nodes and networks.")
    as_number: Literal["exporter", "database"] = Field("exporter", description="Whose AS number holds where both have one.")
    client: bool = Field(False, description="Say which end of a flow asked and which served.")
    direction: Literal["exporter", "interface_side"] = Field(
        "exporter",
        description="interface_side fills in unknown directions: ingress from an external interface, egress to one. For exporters "
        "that observe at their external interfaces only.",
    )
    hostnames: bool = Field(False, description="Add names of addresses by reverse DNS, as far as they are known already.")
    name_servers: tuple[str, ...] = Field(
        (), description="DNS servers for that, ADDRESS or ADDRESS:PORT; empty takes the system's."
    )


class Series(Section):
    """Time series of interfaces for others: totals and top applications, a point per minute once it is final."""

    graphite: str = Field("", pattern=r"^$|^.+:\d{1,5}$", description="HOST:PORT of Graphite's plaintext protocol over TCP.")
    prometheus: str = Field("", pattern=r"^$|^https?://", description="URL of a Prometheus remote-write receiver.")
    prometheus_token: SecretStr = Field(SecretStr(""), description="Bearer token for it; user and password may be in the URL.")
    prefix: str = Field("nephrite", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", description="What names of series begin with.")
    when_away: Literal["wait", "drop"] = Field(
        "drop", description="While a receiver is away: the pipeline waits for it, or points wait and the oldest are dropped."
    )
    buffer_points: int = Field(100_000, ge=1, description="Points that wait for a receiver at most.")
    most_series: int = Field(100_000, ge=1, description="Series that a process writes at most; those that come later are left out.")
