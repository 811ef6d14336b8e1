"""Configuration: typed models with a sentence per field, read from YAML and the environment.

In: a YAML file (or none) and variables NEPHRITE_SECTION__FIELD. Out: `Settings`, or a ConfigError with every fault at once, each
with its place. An unknown key is a fault. Refuses to know what the settings do.
"""

import importlib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from common.errors import ConfigError, UsageError
from common.start import parse_start
from flowpb.groupings import SHIPPED, Scope, Values

_PREFIX: Final = "NEPHRITE_"


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        ipaddress.ip_network(network)
    return networks


def _check_address(address: str) -> str:
    return str(ipaddress.ip_address(address))


Networks = Annotated[tuple[str, ...], AfterValidator(_check_networks)]
Address = Annotated[str, AfterValidator(_check_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Section):
    """One socket. UDP takes every protocol, detected per datagram; TCP and TLS take IPFIX (RFC 7011 section 10.4)."""

    transport: Literal["udp", "tcp", "tls"] = Field("udp", description="udp, tcp or tls.")
    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(9999, ge=0, le=65535, description="Port; 0 takes a free one. Where it is not given, TLS has 4740.")
    optional: bool = Field(False, description="Do without it, with a warning, when another program has the port.")
    receive_buffer_bytes: int = Field(16 << 20, ge=0, description="SO_RCVBUF to ask for; 0 leaves the kernel's default.")
    group: str = Field("", description="UDP: multicast group to take part in; host then is the group's or any address.")
    connections: int = Field(1024, ge=1, description="TCP and TLS: connections at a time; more are closed at once and counted.")
    certificate_file: str = Field("", description="TLS: PEM file with our certificate and its chain.")
    key_file: str = Field("", description="TLS: PEM file with its key; empty if it is in certificate_file.")
    client_ca_file: str = Field("", description="TLS: PEM file with the CAs that exporters' certificates must come from.")

    @model_validator(mode="before")
    @classmethod
    def _tls_has_its_port(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("transport") == "tls":
            return {"port": 4740, **data}
        return data

    @model_validator(mode="after")
    def _tls_has_its_files(self) -> Self:
        if self.transport == "tls" and not (self.certificate_file and self.client_ca_file):
            raise ValueError("transport tls needs certificate_file and client_ca_file")
        return self


CUSTOMARY: Final = (
    Listener(port=9999),
    *(Listener(port=port, optional=True) for port in (2055, 4739, 6343)),
    Listener(transport="tcp", port=4739, optional=True),
)
"""The ports that exporters come with: of everything, NetFlow, IPFIX and sFlow. With certificates (`ingest.tls`) also TLS, 4740."""


class Certificates(_Section):
    """What TLS listeners show and ask for, unless they say it themselves; together they open port 4740 by default."""

    certificate_file: str = Field("", description="PEM file with our certificate and its chain.")
    key_file: str = Field("", description="PEM file with its key; empty if it is in certificate_file.")
    client_ca_file: str = Field("", description="PEM file with the CAs that exporters' certificates must come from.")

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        if (self.certificate_file or self.key_file or self.client_ca_file) and not (self.certificate_file and self.client_ca_file):
            raise ValueError("certificate_file and client_ca_file go together")
        return self


class ExporterSettings(_Section):
    """What holds for the exporters of some networks. Of several that match, the one with the longest prefix gives a value."""

    networks: Networks = Field((), min_length=1, description="Sources in any of these networks or with these addresses.")
    name: str = Field("", description="Shown instead of the address by /exporters.")
    location: str | None = Field(None, description="Location given to their flows.")
    address: Address | None = Field(None, description="Their packets count as sent by this address, with its settings.")
    sampling_interval: int | None = Field(None, ge=1, description="Sampling interval of their flows, whatever they say.")
    sampling_fallback: int | None = Field(None, ge=1, description="Sampling interval of their flows that do not say theirs.")
    active_timeout_s: int | None = Field(None, ge=1, description="No flow of theirs is spread over more time than this.")
    inactive_timeout_s: int | None = Field(None, ge=1, description="Inactive timeout of theirs where they do not say it.")
    direction: Literal["ingress", "egress"] | None = Field(None, description="Direction of their flows that do not say theirs.")
    interface_accounting: Literal["plain", "both_sides", "auto"] | None = Field(
        None,
        description="Whether their ingress flows also count as out-traffic of the output interface: never, always, or unless "
        "egress flows of that interface have been seen.",
    )
    identity: Literal["source", "agent_address", "exporter_address"] | None = Field(
        None,
        description="Who the exporter is: the sender, the agent address of sFlow, or elements 130 and 131 in records or options.",
    )
    clock_correction_ms: int | None = Field(None, description="Added to their times instead of the estimate; 0 trusts them.")
    keep_elements: tuple[str, ...] = Field(
        (), description="Elements kept in `extras`: a name, ID or PEN.ID each, `unknown` for all without a name, `all`."
    )
    inner_flow: bool = Field(False, description="Of sampled GRE, IP-in-IP, VXLAN and Geneve packets, take the flow inside.")


class CaptureFolder(_Section):
    """A folder whose captures (pcap, pcapng) are taken in as they come, each once; or a single capture."""

    path: str = Field(min_length=1, description="Folder that is watched, without those below it, or one file.")
    ports: tuple[int, ...] = Field((), description="Only datagrams to these UDP ports; empty takes all.")
    settle_s: float = Field(10, gt=0, description="A file that has not changed for this long is complete.")
    done_folder: str = Field(
        "", description="What has been read is moved there (relative to the watched folder); empty leaves it and remembers it."
    )


class ElementSettings(_Section):
    """An information element that the shipped registry does not have, or has wrong."""

    pen: int = Field(0, ge=0, lt=1 << 32, description="Private enterprise number; 0 is IANA, or NetFlow v9.")
    id: int = Field(ge=0, lt=1 << 16, description="Element id, without the enterprise bit.")
    name: str = Field(min_length=1, description="Name by which it is shown and kept.")
    type: str = Field("octetArray", description="Abstract data type (RFC 7012 section 3.1).")


class Ingest(_Section):
    """Taking export packets and making batches of them."""

    collector: str = Field("", description="Name of this collector in batch identities; empty takes the host's name.")
    location: str = Field("Default", description="Location given to flows of this collector.")
    listeners: tuple[Listener, ...] = Field(CUSTOMARY, description="Sockets to listen on.")
    tls: Certificates = Field(Certificates(), description="Certificates of TLS listeners.")
    captures: tuple[CaptureFolder, ...] = Field((), description="Folders of captures that are watched, besides the listeners.")
    processes: int = Field(1, ge=1, le=256, description="Processes that share the listeners; more than one needs a Kafka bus.")
    allowed_networks: Networks = Field((), description="Only packets from these networks are taken; empty takes all.")
    exporter_settings: tuple[ExporterSettings, ...] = Field((), description="What holds for exporters of some networks.")
    elements: tuple[ElementSettings, ...] = Field((), description="Information elements besides those that are shipped.")
    batch_interval_ms: int = Field(250, ge=10, le=10_000, description="A batch closes when it is this old.")
    batch_flows: int = Field(65_536, ge=1, description="A batch closes at this many flows.")
    batch_bytes: int = Field(768 << 10, ge=4096, description="A batch closes at about this many octets.")
    codec: Literal["none", "lz4", "zstd"] = Field("none", description="Compression of a batch's columns.")
    template_timeout_s: int = Field(1800, ge=1, description="A template that is not used for this long is forgotten.")
    templates_per_exporter: int = Field(4096, ge=1, description="More templates push out the longest unused.")
    parked_bytes: int = Field(16 << 20, ge=0, description="Data waiting for its template, in octets over all exporters.")
    parked_s: int = Field(600, ge=0, description="Data waits for its template this long.")
    exporters: int = Field(6144, ge=1, description="Exporters with state, 3 KB for each domain; more push out the longest silent.")
    active_timeout_s: int | None = Field(None, ge=1, description="Active timeout of exporters that do not say theirs.")
    inactive_timeout_s: int | None = Field(None, ge=1, description="Inactive timeout of exporters that do not say theirs.")
    sampling_interval: int | None = Field(None, ge=1, description="Sampling interval of exporters that do not say theirs.")
    queue_bytes: int = Field(24 << 20, ge=1 << 20, description="Datagrams that wait for decoding, in octets; more is dropped.")
    outbox_bytes: int = Field(16 << 20, ge=1 << 20, description="Batches that wait for the bus, in octets; then input stops.")
    state_file: str = Field("ingest-state.bin", description="Templates and samplers over a restart; relative to data_dir.")
    flow_documents: str = Field(
        "", description="kafka://host:9092/topic that also gets every flow as one FlowDocument of OpenNMS; empty sends none."
    )
    share_templates: str = Field(
        "", description="Templates of all collectors: a folder, or kafka: for a topic beside the bus's; empty shares nothing."
    )
    watch_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz, /readyz, /exporters and /names.")
    watch_port: int | None = Field(None, ge=0, le=65535, description="Their port; 0 takes a free one, null serves none of them.")
    dead_letters: str = Field(
        "",
        description="Undecodable datagrams go to: empty, data_dir; kafka://host:9092/topic; kafka:, a topic beside the bus's.",
    )
    dead_letters_bytes: int = Field(
        64 << 20,
        ge=0,
        description="How much of them is kept, in octets; 0 keeps none. A topic that exists keeps its own retention.",
    )

    @model_validator(mode="before")
    @classmethod
    def _certificates_open_tls(cls, data: Any) -> Any:
        """TLS listeners take the common certificates, and there is one on 4740 by default as soon as there are some."""
        tls = data.get("tls") if isinstance(data, dict) else None
        files = tls.model_dump() if isinstance(tls, Certificates) else tls
        if not isinstance(files, dict) or not (files.get("certificate_file") and files.get("client_ca_file")):
            return data
        if "listeners" not in data:
            return {**data, "listeners": (*CUSTOMARY, {"transport": "tls", "optional": True, **files})}
        listeners = data["listeners"]
        if not isinstance(listeners, list | tuple):
            return data
        return {**data, "listeners": [_with_files(each, files) for each in listeners]}


class Bus(_Section):
    """Where batches go between ingest and pipeline."""

    url: str = Field("spool:", description="spool: (in data_dir), spool:/path, or kafka://host:9092,host:9092/topic.")
    lanes: int = Field(16, ge=1, le=4096, description="Lanes of the deployment; fixed for its life.")
    spool_bytes: int = Field(8 << 30, ge=1 << 20, description="The spool takes no more than this.")
    segment_bytes: int = Field(64 << 20, ge=1 << 16, description="A spool segment is closed at this size.")
    spool_when_full: Literal["refuse", "drop_oldest", "drop_newest"] = Field(
        "refuse", description="A full spool refuses batches with an error, or drops some and counts them."
    )
    fsync: bool = Field(True, description="Write spool entries through to the disk before they count as taken.")


_RESERVED: Final = frozenset(
    {
        *("total", "application", "applications", "host", "hosts", "conversation", "conversations", "other", "slot"),
        *("as", "country", "countries", "protocol", "protocols", "location", "locations", "system"),
        *("exporter", "exporters", "interface", "interfaces", "dscp", "tos"),
    }
)
_MOST_OWN: Final = 8


class OwnGrouping(_Section):
    """An aggregate of your own: the top values of a column, or of a pair of columns, of which a flow counts at both."""

    name: str = Field(
        pattern="^[a-z][a-z0-9_]{0,31}$", description="Its name in questions; documents have it in capitals in grouped_by."
    )
    columns: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="One column of a flow, or a source and a destination column of one type."
    )
    scopes: tuple[Literal["interface", "exporter", "location", "system"], ...] = Field(
        ("interface", "exporter", "location", "system"), min_length=1, description="What it is kept for."
    )

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in _RESERVED or name.startswith(("interface_", "tos_")):
            raise ValueError(f"{name} is a name of Nephrite's own, take another")
        return name

    @field_validator("columns")
    @classmethod
    def _can_be_ranked(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        schema = importlib.import_module("flowpb.schema")  # Arrow takes longer to load than most commands need
        faults = []
        for name in columns:
            if name not in schema.BY_NAME:
                faults.append(f"{name} is no column of a flow")
            elif name not in schema.RANKABLE:
                faults.append(f"{name} cannot be ranked, it is neither a small number nor a text nor an address")
        if len(set(columns)) < len(columns):
            faults.append(f"{columns[0]} is named twice")
        if not faults and len({schema.BY_NAME[name].type for name in columns}) > 1:
            faults.append(f"{' and '.join(columns)} are of different types")
        if faults:
            raise ValueError("; ".join(faults))
        return columns


class Groupings(_Section):
    """What is ranked besides applications, hosts and conversations."""

    kinds: tuple[Literal["as", "country", "protocol"], ...] = Field(
        ("protocol",), description="Which of as (autonomous systems of both ends), country (of both ends) and protocol are kept."
    )
    own: tuple[OwnGrouping, ...] = Field((), max_length=_MOST_OWN, description="Groupings of your own.")

    @field_validator("kinds")
    @classmethod
    def _once(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kinds))

    @field_validator("own")
    @classmethod
    def _names_are_distinct(cls, own: tuple[OwnGrouping, ...]) -> tuple[OwnGrouping, ...]:
        names = [grouping.name for grouping in own]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        return own

    def values(self) -> tuple[Values, ...]:
        """The kinds as the aggregation takes them, shipped ones first."""
        shipped = tuple(kind for kind in SHIPPED if kind.name.lower() in self.kinds)
        return shipped + tuple(
            Values(own.name.upper(), own.columns, tuple(scope for scope in Scope if scope.name.lower() in own.scopes))
            for own in self.own
        )


class Pipeline(_Section):
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


class Enrichment(_Section):
    """What the pipeline adds to flows: applications, localities."""

    rules: str = Field("", description="Classification rules, a CSV or YAML file; empty takes the pre-defined ones alone.")
    private_networks: tuple[str, ...] = Field((), description="Networks that count as private; empty takes those of the RFCs.")
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

    @field_validator("private_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


class Series(_Section):
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


class Store(_Section):
    """Where documents are kept."""

    url: str = Field(
        "",
        pattern="^(elasticsearch://.+)?$",
        description="The Elasticsearch that a job on Flink writes to, elasticsearch://host:9200?option=value as for "
        "`nephrite setup`: questions, `setup`, `rollup`, `repair` and `retention` go there. Empty: the data folder, as with "
        "`--data-dir` on the command line.",
    )
    raw_days: float = Field(7, gt=0, description="Raw flow records are kept this many days.")
    aggregate_days: float = Field(365, gt=0, description="Minute aggregates are kept this many days.")
    hour_days: float = Field(1825, gt=0, description="Aggregates of hours are kept this many days.")
    day_days: float = Field(3650, gt=0, description="Aggregates of days are kept this many days.")
    ledger_days: float = Field(90, gt=0, description="The ledger, what came and what was lost per minute, is kept this many days.")
    raw_bytes: int = Field(0, ge=0, description="Oldest raw flow records go when all are larger; 0 leaves it to max_bytes.")
    aggregate_bytes: int = Field(0, ge=0, description="The same for minute aggregates.")
    hour_bytes: int = Field(0, ge=0, description="The same for hours.")
    day_bytes: int = Field(0, ge=0, description="The same for days.")
    ledger_bytes: int = Field(0, ge=0, description="The same for the ledger.")
    max_bytes: int = Field(
        50 << 30,
        ge=1 << 20,
        description="When all is larger, the oldest go: raw flow records first, then the ledger, minutes, hours, days.",
    )


class Query(_Section):
    """Answering over HTTP (`nephrite serve`)."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8980, ge=0, le=65535, description="Port; 0 takes a free one.")
    with_up: bool = Field(True, description="`nephrite up` serves, too, where the port is free.")
    token: SecretStr = Field(
        SecretStr(""), description="Asked of every request, as bearer or as password of any user; empty asks for none."
    )


class Logs(_Section):
    """Lines on standard error."""

    form: Literal["text", "json"] = Field("text", description="text for people, json for machines: one object per line.")
    level: Literal["debug", "info", "warning", "error"] = Field("warning", description="Nothing below this level is written.")


class Settings(_Section):
    """Everything that can be set."""

    data_dir: str = Field("nephrite-data", description="Folder of spool, manifest and Parquet files.")
    logs: Logs = Logs()
    ingest: Ingest = Ingest()
    bus: Bus = Bus()
    pipeline: Pipeline = Pipeline()
    enrichment: Enrichment = Enrichment()
    series: Series = Series()
    store: Store = Store()
    query: Query = Query()

    @model_validator(mode="after")
    def _edges_are_known(self) -> Self:
        if self.pipeline.edge_only and not self.enrichment.inventory:
            raise ValueError("pipeline.edge_only needs enrichment.inventory, which says which interfaces are external")
        return self


def _with_files(listener: Any, files: dict[str, Any]) -> Any:
    bare = isinstance(listener, dict) and listener.get("transport") == "tls" and not listener.get("certificate_file")
    return {**files, **{name: value for name, value in listener.items() if value != ""}} if bare else listener


def load_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of a YAML file with the environment on top; raises ConfigError with all faults."""
    tree = {} if path is None else _read(path)
    where = "configuration" if path is None else str(path)
    for name, value in sorted(environment.items()):
        if name.startswith(_PREFIX) and "__" in name:
            _put(tree, name.removeprefix(_PREFIX).lower().split("__"), _value(name, value))
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError([f"{where}: {_describe(fault)}" for fault in error.errors()]) from error


def _value(name: str, text: str) -> Any:
    """The variable as YAML; one line is a mapping only in braces, since `spool:` is a URL."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"environment: {name}: not YAML: {' '.join(str(error).split())}"]) from error
    return text if isinstance(value, dict) and not text.lstrip().startswith("{") and "\n" not in text else value


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: the top level must be a mapping, not {type(tree).__name__}"])
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: Annotated[object, "any YAML value"]) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError([f"environment: {'.'.join(keys)} is below a value"])
        tree = below
    tree[keys[-1]] = value


def _describe(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "top level"
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such setting"
    return f"{place}: {fault['msg'][:1].lower()}{fault['msg'][1:]} (got {fault['input']!r})"
