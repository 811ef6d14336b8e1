"""Which columns of FLOW a raw document has, where they stand in it, and how their values are spelled.

In: FLOW, the profiles and the columns that an operator added. Out: RawFields, in the order of a document. Refuses to know how a
document is put together. Spellings are OpenNMS's, in every profile, so that a field means one thing.

`@timestamp` and the switched times are corrected by `@clock_correction`, as OpenNMS's are; `netflow.delta_switched` and
`netflow.last_switched` are the interval by which the flow counts (docs/explanation/numbers.md 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import pyarrow as pa

from flowpb.schema import FLOW, Client, Column, Direction, ProtocolVersion, SamplingSource


class Together(Enum):
    """Columns whose values come together: a piece of text for each combination is made once and used by many flows."""

    PLACE = "exporter, interfaces, sampling"
    SERVICE = "protocol, flags, application"
    SOURCE = "source end"
    DESTINATION = "destination end"
    NOTHING = "of each flow alone"


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field's path and mapping."""

    path: str
    es_type: str


@dataclass(frozen=True, slots=True)
class RawField:
    """One column in a document; `path` as in Elasticsearch."""

    column: str
    path: str
    es_type: str
    together: Together

    @property
    def object(self) -> str:
        """The object that holds it, empty at the top."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its name there."""
        return self.path.rpartition(".")[2]


HOSTS: Final = FieldOf("hosts", "ip")
CONVERSATION: Final = FieldOf("netflow.convo_key", "keyword")
LATE: Final = FieldOf("netflow.late", "boolean")
"""Only where true: the flow was too late for its windows, which have it since they were repaired."""
ANCIENT: Final = FieldOf("netflow.ancient", "boolean")
"""Only where true: a late flow that is too old for any window."""
VERSION: Final = FieldOf("@version", "keyword")
DERIVED: Final = (
    *(HOSTS, CONVERSATION, LATE, ANCIENT, VERSION),
    *(FieldOf("netflow.dscp", "keyword"), FieldOf("netflow.ecn", "keyword")),
)
"""Fields that no column has; all but LATE and ANCIENT in profile `opennms` only."""

TIMES: Final = ("exported_ms", "received_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms")
_COMPACT: Final = frozenset(
    [
        *("exported_ms", "received_ms", "delta_switched_ms", "last_switched_ms", "exporter_addr", "location", "protocol_version"),
        *("in_if", "out_if", "direction", "protocol", "src_addr", "src_port", "dst_addr", "dst_port", "tos", "tcp_flags"),
        *("bytes", "packets", "sampling_interval", "application", "src_as", "dst_as", "vlan"),
    ]
)
_OPENNMS: Final = _COMPACT | {
    *("clock_correction_ms", "first_switched_ms", "src_hostname", "dst_hostname", "src_locality", "dst_locality", "flow_locality"),
    *("src_mask", "dst_mask", "engine_id", "engine_type", "num_flow_records", "flow_seq_num", "ip_version", "next_hop"),
    *("sampling_algorithm", "exporter_node_id", "exporter_foreign_source", "exporter_foreign_id", "exporter_categories"),
    *("src_node_id", "src_foreign_source", "src_foreign_id", "src_categories"),
    *("dst_node_id", "dst_foreign_source", "dst_foreign_id", "dst_categories"),
}
COLUMNS: Final[Mapping[str, frozenset[str]]] = {"compact": _COMPACT, "opennms": frozenset(_OPENNMS)}

DIRECTIONS: Final = {member.value: member.name.lower() for member in Direction}
VERSIONS: Final = {
    ProtocolVersion.NETFLOW_V1.value: "Netflow v1",
    ProtocolVersion.NETFLOW_V5.value: "Netflow v5",
    ProtocolVersion.NETFLOW_V7.value: "Netflow v7",
    ProtocolVersion.NETFLOW_V9.value: "Netflow v9",
    ProtocolVersion.IPFIX.value: "IPFIX",
    ProtocolVersion.SFLOW_V5.value: "SFLOW",
}
_ALGORITHMS: Final = {
    0: "Unassigned",
    1: "SystematicCountBasedSampling",
    2: "SystematicTimeBasedSampling",
    3: "RandomNoutOfNSampling",
    4: "UniformProbabilisticSampling",
    5: "PropertyMatchFiltering",
    6: "HashBasedFiltering",
    7: "HashBasedFiltering",
    8: "HashBasedFiltering",
    9: "FlowStateDependentIntermediateFlowSelectionProcess",
}
"""IANA 304 by OpenNMS's names, which do not tell the hash functions apart."""
NAMED: Final[Mapping[str, Mapping[int, str]]] = {
    "direction": DIRECTIONS,
    "protocol_version": VERSIONS,
    "sampling_algorithm": _ALGORITHMS,
    "sampling_source": {member.value: member.name.lower() for member in SamplingSource},
    "client": {member.value: member.name.lower() for member in Client},
}
"""Columns whose numbers are written as words; a number without one is written as it is."""
LISTED: Final = frozenset(column.name for column in FLOW if column.name.endswith("_categories"))
"""Texts with commas between that are written as a list."""

_SERVICE: Final = frozenset(
    [
        *("protocol", "tos", "tcp_flags", "ip_version", "application", "flow_locality", "icmp_type", "icmp_code", "client"),
        *("forwarding_status", "flow_end_reason", "firewall_event", "nat_event", "application_id", "application_name"),
    ]
)
_EACH: Final = frozenset(
    [
        *TIMES,
        *("bytes", "packets", "l2_bytes", "src_port", "dst_port", "nat_src_port", "nat_dst_port", "flow_seq_num", "flow_label"),
        *("fragment_offset", "mpls_labels", "as_path", "src_communities", "dst_communities", "extras"),
    ]
)


@lru_cache
def raw_fields(profile: str, added: Sequence[str] = ()) -> tuple[RawField | FieldOf, ...]:
    """All fields of a profile: columns in the order of FLOW, then those that no column has."""
    names = COLUMNS[profile] | set(added)
    columns = [_field(column) for column in FLOW if column.name in names and column.es]
    return (*columns, *(DERIVED if profile == "opennms" else (LATE, ANCIENT)))


def raw_columns(profile: str, added: Sequence[str] = ()) -> tuple[RawField, ...]:
    """The fields that are columns."""
    return tuple(field for field in raw_fields(profile, added) if isinstance(field, RawField))


def _field(column: Column) -> RawField:
    return RawField(column.name, column.es, type_of(column), _together(column))


def type_of(column: Column) -> str:
    """The mapping of a column: Elasticsearch's integers are signed, and a document with a larger value would be refused."""
    return "long" if column.es_type == "integer" and column.type == pa.uint32() else column.es_type


def _together(column: Column) -> Together:
    if column.name in _EACH:
        return Together.NOTHING
    if column.name in _SERVICE:
        return Together.SERVICE
    if column.name.startswith("src_") or column.name == "nat_src_addr":
        return Together.SOURCE
    if column.name.startswith("dst_") or column.name in ("nat_dst_addr", "next_hop", "bgp_next_hop"):
        return Together.DESTINATION
    return Together.PLACE
