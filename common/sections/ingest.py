"""Settings of ingest: listeners, exporters, captures, bounds, and what goes where besides the bus."""

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from common.sections.section import Address, Networks, Section


class Listener(Section):
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


class Certificates(Section):
    """What TLS listeners show and ask for, unless they say it themselves; together they open port 4740 by default."""

    certificate_file: str = Field("", description="PEM file with our certificate and its chain.")
    key_file: str = Field("", description="PEM file with its key; empty if it is in certificate_file.")
    client_ca_file: str = Field("", description="PEM file with the CAs that exporters' certificates must come from.")

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        if (self.certificate_file or self.key_file or self.client_ca_file) and not (self.certificate_file and self.client_ca_file):
            raise ValueError("certificate_file and client_ca_file go together")
        return self


class ExporterSettings(Section):
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


class CaptureFolder(Section):
    """A folder whose captures (pcap, pcapng) are taken in as they come, each once; or a single capture."""

    path: str = Field(min_length=1, description="Folder that is watched, without those below it, or one file.")
    ports: tuple[int, ...] = Field((), description="Only datagrams to these UDP ports; empty takes all.")
    settle_s: float = Field(10, gt=0, description="A file that has not changed for this long is complete.")
    done_folder: str = Field(
        "", description="What has been read is moved there (relative to the watched folder); empty leaves it and remembers it."
    )


class ElementSettings(Section):
    """An information element that the shipped registry does not have, or has wrong."""

    pen: int = Field(0, ge=0, lt=1 << 32, description="Private enterprise number; 0 is IANA, or NetFlow v9.")
    id: int = Field(ge=0, lt=1 << 16, description="Element id, without the enterprise bit.")
    name: str = Field(min_length=1, description="Name by which it is shown and kept.")
    type: str = Field("octetArray", description="Abstract data type (RFC 7012 section 3.1).")


class Ingest(Section):
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


def _with_files(listener: Any, files: dict[str, Any]) -> Any:
    bare = isinstance(listener, dict) and listener.get("transport") == "tls" and not listener.get("certificate_file")
    return {**files, **{name: value for name, value in listener.items() if value != ""}} if bare else listener
