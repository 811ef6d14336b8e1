"""FLOW: the one column table of the line, and everything that derives from it.

In: nothing. Out: the Arrow schema of canonical flows, the source elements of each column, its FlowDocument field and its
Elasticsearch mapping. Refuses to know: packets, windows, stores.

Addresses are 16 bytes (IPv4 as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2) and dictionary-encoded. Times are milliseconds since
1970-01-01 UTC as the exporter meant them; `clock_correction_ms` is to be added to compare them with the collector's clock.
Counters are as exported, never multiplied by the sampling interval.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = 1

ADDRESS: Final = pa.dictionary(pa.int32(), pa.binary(16))
TEXT: Final = pa.dictionary(pa.int32(), pa.string())
EXTRA: Final = pa.list_(pa.struct([("pen", pa.uint32()), ("id", pa.uint16()), ("value", pa.binary())]))


class ProtocolVersion(IntEnum):
    """Values of `protocol_version`: the version word on the wire; sFlow has one of its own, since its word is 5 too."""

    NETFLOW_V1 = 1
    NETFLOW_V5 = 5
    NETFLOW_V7 = 7
    NETFLOW_V9 = 9
    IPFIX = 10
    SFLOW_V5 = 105


class Direction(IntEnum):
    """Values of `direction` (IANA element 61; 255 as in OpenNMS for 'not said')."""

    INGRESS = 0
    EGRESS = 1
    UNKNOWN = 255


class SamplingSource(IntEnum):
    """Where `sampling_interval` was found; the order is that of trust."""

    NONE = 0
    CONFIG = 1
    HEADER = 2
    OPTIONS = 3
    RECORD = 4


class Client(IntEnum):
    """Values of `client`: which end asked and which served."""

    SOURCE = 1
    DESTINATION = 2


class Stage(IntEnum):
    """Who fills a column."""

    INGEST = 0
    PIPELINE = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column of FLOW.

    `elements` are IANA element ids (NetFlow v9 and IPFIX share them) in order of precedence; `v5` names the field of the
    NetFlow v5 record or header, `sflow` the structure (enterprise:format) and field. `document` is the field number in
    FlowDocument; `es` the field of a raw Elasticsearch document and `es_type` its mapping.
    """

    name: str
    type: pa.DataType
    unit: str
    null: str
    elements: tuple[int, ...] = ()
    v5: str = ""
    sflow: str = ""
    document: int | None = None
    es: str = ""
    es_type: str = ""
    stage: Stage = Stage.INGEST


_U8, _U16, _U32, _U64, _I64, _F64 = pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.int64(), pa.float64()
_MAC = pa.binary(6)
_LIST = pa.list_(_U32)
_NOT_SENT = "not exported"
_NOT_KNOWN = "not known"
_PIPE = Stage.PIPELINE

FLOW: Final[tuple[Column, ...]] = (
    # time
    Column("received_ms", _I64, "ms", "never", es="@received", es_type="date"),
    Column("exported_ms", _I64, "ms", "never", v5="unix_secs+unix_nsecs", sflow="receive time", document=1, es="@timestamp", es_type="date"),
    Column("first_switched_ms", _I64, "ms", "never", (152, 154, 156, 150, 158, 22), "First", "receive time", 12, "netflow.first_switched", "date"),
    Column("delta_switched_ms", _I64, "ms", "never", (), "First", "receive time", 11, "netflow.delta_switched", "date"),
    Column("last_switched_ms", _I64, "ms", "never", (153, 155, 157, 151, 159, 21), "Last", "receive time", 13, "netflow.last_switched", "date"),
    Column("clock_correction_ms", _I64, "ms", "0: clock trusted", document=45, es="@clock_correction", es_type="long"),
    # exporter
    Column("exporter_addr", ADDRESS, "address", "never", (), "UDP source", "UDP source", 39, "host", "ip"),
    Column("observation_domain", _U32, "id", "no domain in the protocol", (149,), "engine_type<<8|engine_id", "sub_agent_id", None, "netflow.observation_domain", "long"),
    Column("protocol_version", _U8, "ProtocolVersion", "never", (), "version", "version", 33, "netflow.version", "keyword"),
    Column("location", TEXT, "name", "default location", document=40, es="location", es_type="keyword"),
    Column("flow_seq_num", _U32, "count", _NOT_SENT, (), "flow_sequence", "sequence_number", 16, "netflow.flow_seq_num", "long"),
    Column("num_flow_records", _U32, "count", _NOT_SENT, (), "count", "samples", 14, "netflow.flow_records", "integer"),
    Column("engine_type", _U8, "id", _NOT_SENT, (38,), "engine_type", "", 10, "netflow.engine_type", "integer"),
    Column("engine_id", _U8, "id", _NOT_SENT, (39,), "engine_id", "sub_agent_id", 9, "netflow.engine_id", "integer"),
    # key
    Column("src_addr", ADDRESS, "address", "no address exported", (27, 8), "srcaddr", "0:1 header, 0:3, 0:4", 26, "netflow.src_addr", "ip"),
    Column("dst_addr", ADDRESS, "address", "no address exported", (28, 12), "dstaddr", "0:1 header, 0:3, 0:4", 4, "netflow.dst_addr", "ip"),
    Column("src_port", _U16, "port", _NOT_SENT, (7, 180, 182), "srcport", "0:1 header, 0:3, 0:4", 30, "netflow.src_port", "keyword"),
    Column("dst_port", _U16, "port", _NOT_SENT, (11, 181, 183), "dstport", "0:1 header, 0:3, 0:4", 8, "netflow.dst_port", "keyword"),
    Column("protocol", _U8, "IANA protocol number", _NOT_SENT, (4,), "prot", "0:1 header, 0:3, 0:4", 22, "netflow.protocol", "keyword"),
    Column("ip_version", _U8, "4 or 6", "no address exported", (60,), "4", "0:1 header, 0:3, 0:4", 19, "netflow.ip_protocol_version", "integer"),
    Column("tos", _U8, "octet", _NOT_SENT, (5, 195), "tos", "0:1 header, 0:3, 0:4", 32, "netflow.tos", "keyword"),
    Column("in_if", _U32, "ifIndex", _NOT_SENT, (10, 252), "input", "input", 17, "netflow.input_snmp", "integer"),
    Column("out_if", _U32, "ifIndex", _NOT_SENT, (14, 253), "output", "output", 18, "netflow.output_snmp", "integer"),
    Column("direction", _U8, "Direction", "unknown", (61,), "0x80 of the padding: egress, else ingress", "source_id is output: egress, else ingress", 3, "netflow.direction", "keyword"),
    Column("vlan", _U16, "VLAN id", _NOT_SENT, (58, 243, 245, 59, 254, 255), "", "0:1001 src_vlan, 0:1012, first tag", 34, "netflow.vlan", "keyword"),
    Column("vlan_inner", _U16, "VLAN id below the outer one", _NOT_SENT, (245,), "", "second tag, 0:1012", None, "netflow.vlan_inner", "keyword"),
    Column("vlan_out", _U16, "VLAN id", _NOT_SENT, (59, 254, 255), "", "0:1001 dst_vlan", None, "netflow.vlan_out", "keyword"),
    # measures
    Column("bytes", _U64, "octets as exported", _NOT_SENT, (1, 23, 352, 417, 401, 85), "dOctets", "frame or IP length", 2, "netflow.bytes", "long"),
    Column("packets", _U64, "packets as exported", _NOT_SENT, (2, 24, 402, 86), "dPkts", "1", 15, "netflow.packets", "long"),
    Column("sampling_interval", _F64, "packets per sampled packet", "not sampled, or not known", (34, 50, 305, 307, 309, 311), "sampling_interval", "sampling_rate", 24, "netflow.sampling_interval", "double"),
    Column("sampling_algorithm", _U8, "selectorAlgorithm (IANA 304)", "not sampled, or not known", (304, 35, 49), "sampling mode", "1", 23, "netflow.sampling_algorithm", "keyword"),
    Column("sampling_source", _U8, "SamplingSource", "none", es="netflow.sampling_source", es_type="keyword"),
    Column("tcp_flags", _U16, "flags", _NOT_SENT, (6,), "tcp_flags", "0:1 header, 0:3, 0:4", 31, "netflow.tcp_flags", "integer"),
    # routing
    Column("src_as", _U32, "AS number", _NOT_SENT, (16,), "src_as", "0:1003 src_as", 28, "netflow.src_as", "long"),
    Column("dst_as", _U32, "AS number", _NOT_SENT, (17,), "dst_as", "0:1003 dst_as_path", 6, "netflow.dst_as", "long"),
    Column("src_mask", _U8, "prefix length", _NOT_SENT, (29, 9), "src_mask", "0:1002 src_mask", 29, "netflow.src_mask_len", "integer"),
    Column("dst_mask", _U8, "prefix length", _NOT_SENT, (30, 13), "dst_mask", "0:1002 dst_mask", 7, "netflow.dst_mask_len", "integer"),
    Column("next_hop", ADDRESS, "address", _NOT_SENT, (62, 15, 63, 18), "nexthop", "0:1002 or 0:1006 nexthop", 20, "netflow.next_hop", "ip"),
    Column("bgp_next_hop", ADDRESS, "address", _NOT_SENT, (63, 18), "", "0:1003 nexthop", None, "netflow.bgp_next_hop", "ip"),
    Column("src_peer_as", _U32, "AS number before the exporter's", _NOT_SENT, (129,), "", "0:1003 src_peer_as", None, "netflow.src_peer_as", "long"),
    Column("dst_peer_as", _U32, "AS number after the exporter's", _NOT_SENT, (128,), "", "0:1003 dst_as_path, first", None, "netflow.dst_peer_as", "long"),
    Column("as_path", _LIST, "AS numbers to the destination, in order", _NOT_SENT, (), "", "0:1003 dst_as_path", None, "netflow.as_path", "long"),
    Column("src_communities", _LIST, "BGP communities (RFC 1997)", _NOT_SENT, (484,), "", "", None, "netflow.src_communities", "long"),
    Column("dst_communities", _LIST, "BGP communities (RFC 1997)", _NOT_SENT, (485, 483), "", "0:1003 communities", None, "netflow.dst_communities", "long"),
    Column("local_pref", _U32, "BGP local preference", _NOT_SENT, (), "", "0:1003 localpref", None, "netflow.local_pref", "long"),
    Column("src_mac", _MAC, "MAC address", _NOT_SENT, (56, 81), "", "0:1 header, 0:2", None, "netflow.src_mac", "keyword"),
    Column("dst_mac", _MAC, "MAC address", _NOT_SENT, (80, 57), "", "0:1 header, 0:2", None, "netflow.dst_mac", "keyword"),
    Column("vrf_in", _U32, "VRF id", _NOT_SENT, (234,), es="netflow.vrf_in", es_type="long"),
    Column("vrf_out", _U32, "VRF id", _NOT_SENT, (235,), es="netflow.vrf_out", es_type="long"),
    Column("mpls_labels", _LIST, "label values, top first", _NOT_SENT, (70, 71, 72, 73, 74, 75, 76, 77, 78, 79), "", "0:1 header, 0:1006", None, "netflow.mpls_labels", "long"),
    Column("vni_in", _U32, "overlay segment id", _NOT_SENT, (351,), "", "0:1030 vni", None, "netflow.vni_in", "long"),
    Column("vni_out", _U32, "overlay segment id", _NOT_SENT, (), "", "0:1029 vni", None, "netflow.vni_out", "long"),
    Column("tunnel_in_src_mac", _MAC, "MAC address", _NOT_SENT, (), "", "0:1022", None, "netflow.tunnel_in_src_mac", "keyword"),
    Column("tunnel_in_dst_mac", _MAC, "MAC address", _NOT_SENT, (), "", "0:1022", None, "netflow.tunnel_in_dst_mac", "keyword"),
    Column("tunnel_in_src_addr", ADDRESS, "address", _NOT_SENT, (), "", "0:1024, 0:1026", None, "netflow.tunnel_in_src_addr", "ip"),
    Column("tunnel_in_dst_addr", ADDRESS, "address", _NOT_SENT, (), "", "0:1024, 0:1026", None, "netflow.tunnel_in_dst_addr", "ip"),
    Column("tunnel_in_protocol", _U8, "IANA protocol number", _NOT_SENT, (), "", "0:1024, 0:1026", None, "netflow.tunnel_in_protocol", "keyword"),
    Column("tunnel_out_src_mac", _MAC, "MAC address", _NOT_SENT, (), "", "0:1021", None, "netflow.tunnel_out_src_mac", "keyword"),
    Column("tunnel_out_dst_mac", _MAC, "MAC address", _NOT_SENT, (), "", "0:1021", None, "netflow.tunnel_out_dst_mac", "keyword"),
    Column("tunnel_out_src_addr", ADDRESS, "address", _NOT_SENT, (), "", "0:1023, 0:1025", None, "netflow.tunnel_out_src_addr", "ip"),
    Column("tunnel_out_dst_addr", ADDRESS, "address", _NOT_SENT, (), "", "0:1023, 0:1025", None, "netflow.tunnel_out_dst_addr", "ip"),
    Column("tunnel_out_protocol", _U8, "IANA protocol number", _NOT_SENT, (), "", "0:1023, 0:1025", None, "netflow.tunnel_out_protocol", "keyword"),
    Column("icmp_type", _U8, "ICMP type", _NOT_SENT, (176, 178, 32, 139), "", "0:1 header", None, "netflow.icmp_type", "integer"),
    Column("icmp_code", _U8, "ICMP code", _NOT_SENT, (177, 179, 32, 139), "", "0:1 header", None, "netflow.icmp_code", "integer"),
    Column("flow_label", _U32, "IPv6 flow label", _NOT_SENT, (31,), "", "0:1 header", None, "netflow.flow_label", "long"),
    Column("fragment_offset", _U16, "8 octets", _NOT_SENT, (88,), "", "0:1 header", None, "netflow.fragment_offset", "integer"),
    Column("min_ttl", _U8, "hops", _NOT_SENT, (52, 192), "", "0:1 header", None, "netflow.min_ttl", "integer"),
    Column("max_ttl", _U8, "hops", _NOT_SENT, (53, 192), "", "0:1 header", None, "netflow.max_ttl", "integer"),
    Column("forwarding_status", _U8, "IANA 89", _NOT_SENT, (89,), sflow="0:5, output discarded", es="netflow.forwarding_status", es_type="integer"),
    Column("flow_end_reason", _U8, "IANA 136", _NOT_SENT, (136,), es="netflow.flow_end_reason", es_type="integer"),
    Column("nat_src_addr", ADDRESS, "address", _NOT_SENT, (281, 225), "", "0:1007", None, "netflow.nat_src_addr", "ip"),
    Column("nat_dst_addr", ADDRESS, "address", _NOT_SENT, (282, 226), "", "0:1007", None, "netflow.nat_dst_addr", "ip"),
    Column("nat_src_port", _U16, "port", _NOT_SENT, (227,), sflow="0:1020", es="netflow.nat_src_port", es_type="keyword"),
    Column("nat_dst_port", _U16, "port", _NOT_SENT, (228,), sflow="0:1020", es="netflow.nat_dst_port", es_type="keyword"),
    Column("nat_event", _U8, "IANA 230", _NOT_SENT, (230,), es="netflow.nat_event", es_type="integer"),
    Column("firewall_event", _U8, "IANA 233", _NOT_SENT, (233,), es="netflow.firewall_event", es_type="integer"),
    Column("application_id", pa.binary(), "RFC 6759 octets", _NOT_SENT, (95,), es="netflow.application_id", es_type="keyword"),
    Column("application_name", TEXT, "exporter's name", _NOT_SENT, (96,), es="netflow.application_name", es_type="keyword"),
    Column("l2_bytes", _U64, "octets with layer 2 headers", _NOT_SENT, (352, 417), "", "frame length", None, "netflow.l2_bytes", "long"),
    Column("extras", EXTRA, "elements kept on request", "none kept", es="netflow.extras", es_type="flattened"),
    # filled by the pipeline
    Column("application", TEXT, "rule's name", "no rule matched", document=38, es="netflow.application", es_type="keyword", stage=_PIPE),
    Column("src_locality", TEXT, "public or private", "no address", document=41, es="netflow.src_locality", es_type="keyword", stage=_PIPE),
    Column("dst_locality", TEXT, "public or private", "no address", document=42, es="netflow.dst_locality", es_type="keyword", stage=_PIPE),
    Column("flow_locality", TEXT, "public or private", "no address", document=43, es="netflow.flow_locality", es_type="keyword", stage=_PIPE),
    Column("exporter_node_id", _U32, "node id", "not in the inventory", es="node_exporter.node_id", es_type="long", stage=_PIPE),
    Column("exporter_foreign_source", TEXT, "name", "not in the inventory", es="node_exporter.foreign_source", es_type="keyword", stage=_PIPE),
    Column("exporter_foreign_id", TEXT, "name", "not in the inventory", es="node_exporter.foreign_id", es_type="keyword", stage=_PIPE),
    Column("exporter_label", TEXT, "node's label", "not in the inventory", es="node_exporter.label", es_type="keyword", stage=_PIPE),
    Column("exporter_categories", TEXT, "names with commas between", "none", es="node_exporter.categories", es_type="keyword", stage=_PIPE),
    Column("src_node_id", _U32, "node id", "not in the inventory", es="node_src.node_id", es_type="long", stage=_PIPE),
    Column("src_foreign_source", TEXT, "name", "not in the inventory", es="node_src.foreign_source", es_type="keyword", stage=_PIPE),
    Column("src_foreign_id", TEXT, "name", "not in the inventory", es="node_src.foreign_id", es_type="keyword", stage=_PIPE),
    Column("src_label", TEXT, "node's label", "not in the inventory", es="node_src.label", es_type="keyword", stage=_PIPE),
    Column("src_categories", TEXT, "names with commas between", "none", es="node_src.categories", es_type="keyword", stage=_PIPE),
    Column("dst_node_id", _U32, "node id", "not in the inventory", es="node_dst.node_id", es_type="long", stage=_PIPE),
    Column("dst_foreign_source", TEXT, "name", "not in the inventory", es="node_dst.foreign_source", es_type="keyword", stage=_PIPE),
    Column("dst_foreign_id", TEXT, "name", "not in the inventory", es="node_dst.foreign_id", es_type="keyword", stage=_PIPE),
    Column("dst_label", TEXT, "node's label", "not in the inventory", es="node_dst.label", es_type="keyword", stage=_PIPE),
    Column("dst_categories", TEXT, "names with commas between", "none", es="node_dst.categories", es_type="keyword", stage=_PIPE),
    Column("exporter_vendor", TEXT, "name", _NOT_KNOWN, es="node_exporter.vendor", es_type="keyword", stage=_PIPE),
    Column("in_if_name", TEXT, "ifName", _NOT_KNOWN, es="netflow.input_name", es_type="keyword", stage=_PIPE),
    Column("in_if_alias", TEXT, "ifAlias", _NOT_KNOWN, es="netflow.input_alias", es_type="keyword", stage=_PIPE),
    Column("in_if_speed", _U64, "bit/s", _NOT_KNOWN, es="netflow.input_speed", es_type="long", stage=_PIPE),
    Column("out_if_name", TEXT, "ifName", _NOT_KNOWN, es="netflow.output_name", es_type="keyword", stage=_PIPE),
    Column("out_if_alias", TEXT, "ifAlias", _NOT_KNOWN, es="netflow.output_alias", es_type="keyword", stage=_PIPE),
    Column("out_if_speed", _U64, "bit/s", _NOT_KNOWN, es="netflow.output_speed", es_type="long", stage=_PIPE),
    Column("src_hostname", TEXT, "name", _NOT_KNOWN, document=27, es="netflow.src_addr_hostname", es_type="keyword", stage=_PIPE),
    Column("src_as_name", TEXT, "name", _NOT_KNOWN, es="netflow.src_as_name", es_type="keyword", stage=_PIPE),
    Column("src_country", TEXT, "ISO 3166-1 alpha-2", _NOT_KNOWN, es="netflow.src_country", es_type="keyword", stage=_PIPE),
    Column("src_site", TEXT, "operator's label", "no label", es="netflow.src_site", es_type="keyword", stage=_PIPE),
    Column("src_role", TEXT, "operator's label", "no label", es="netflow.src_role", es_type="keyword", stage=_PIPE),
    Column("src_tenant", TEXT, "operator's label", "no label", es="netflow.src_tenant", es_type="keyword", stage=_PIPE),
    Column("src_region", TEXT, "operator's label", "no label", es="netflow.src_region", es_type="keyword", stage=_PIPE),
    Column("dst_hostname", TEXT, "name", _NOT_KNOWN, document=5, es="netflow.dst_addr_hostname", es_type="keyword", stage=_PIPE),
    Column("dst_as_name", TEXT, "name", _NOT_KNOWN, es="netflow.dst_as_name", es_type="keyword", stage=_PIPE),
    Column("dst_country", TEXT, "ISO 3166-1 alpha-2", _NOT_KNOWN, es="netflow.dst_country", es_type="keyword", stage=_PIPE),
    Column("dst_site", TEXT, "operator's label", "no label", es="netflow.dst_site", es_type="keyword", stage=_PIPE),
    Column("dst_role", TEXT, "operator's label", "no label", es="netflow.dst_role", es_type="keyword", stage=_PIPE),
    Column("dst_tenant", TEXT, "operator's label", "no label", es="netflow.dst_tenant", es_type="keyword", stage=_PIPE),
    Column("dst_region", TEXT, "operator's label", "no label", es="netflow.dst_region", es_type="keyword", stage=_PIPE),
    Column("client", _U8, "Client", _NOT_KNOWN, es="netflow.client", es_type="keyword", stage=_PIPE),
    Column("rules_version", TEXT, "version", "pre-defined rules", es="netflow.rules_version", es_type="keyword", stage=_PIPE),
    Column("inventory_version", TEXT, "version", "no inventory", es="netflow.inventory_version", es_type="keyword", stage=_PIPE),
    Column("in_if_side", TEXT, "internal or external", _NOT_KNOWN, es="netflow.input_side", es_type="keyword", stage=_PIPE),
    Column("out_if_side", TEXT, "internal or external", _NOT_KNOWN, es="netflow.output_side", es_type="keyword", stage=_PIPE),
    Column("vrf_in_name", TEXT, "name", _NOT_KNOWN, es="netflow.vrf_in_name", es_type="keyword", stage=_PIPE),
    Column("vrf_out_name", TEXT, "name", _NOT_KNOWN, es="netflow.vrf_out_name", es_type="keyword", stage=_PIPE),
)  # fmt: skip

BY_NAME: Final = {column.name: column for column in FLOW}
_COUNTS: Final = ("flow_seq_num", "num_flow_records")
RANKABLE: Final = frozenset(c.name for c in FLOW if c.type in (_U8, _U16, _U32, TEXT, ADDRESS, _MAC) and c.name not in _COUNTS)
"""Columns whose values an operator's grouping may rank."""
FLOW_SCHEMA: Final = pa.schema([pa.field(c.name, c.type) for c in FLOW])
INGEST_SCHEMA: Final = pa.schema([pa.field(c.name, c.type) for c in FLOW if c.stage is Stage.INGEST])
"""The schema of a batch on the bus: any subset of these columns, in this order (columns that are all null are left out)."""
