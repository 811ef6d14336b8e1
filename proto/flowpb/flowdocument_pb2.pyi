from google.protobuf import wrappers_pb2 as _wrappers_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INGRESS: _ClassVar[Direction]
    EGRESS: _ClassVar[Direction]
    UNKNOWN: _ClassVar[Direction]

class SamplingAlgorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNASSIGNED: _ClassVar[SamplingAlgorithm]
    SYSTEMATIC_COUNT_BASED_SAMPLING: _ClassVar[SamplingAlgorithm]
    SYSTEMATIC_TIME_BASED_SAMPLING: _ClassVar[SamplingAlgorithm]
    RANDOM_N_OUT_OF_N_SAMPLING: _ClassVar[SamplingAlgorithm]
    UNIFORM_PROBABILISTIC_SAMPLING: _ClassVar[SamplingAlgorithm]
    PROPERTY_MATCH_FILTERING: _ClassVar[SamplingAlgorithm]
    HASH_BASED_FILTERING: _ClassVar[SamplingAlgorithm]
    FLOW_STATE_DEPENDENT_INTERMEDIATE_FLOW_SELECTION_PROCESS: _ClassVar[SamplingAlgorithm]

class NetflowVersion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    V5: _ClassVar[NetflowVersion]
    V9: _ClassVar[NetflowVersion]
    IPFIX: _ClassVar[NetflowVersion]
    SFLOW: _ClassVar[NetflowVersion]

class Locality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLIC: _ClassVar[Locality]
    PRIVATE: _ClassVar[Locality]
INGRESS: Direction
EGRESS: Direction
UNKNOWN: Direction
UNASSIGNED: SamplingAlgorithm
SYSTEMATIC_COUNT_BASED_SAMPLING: SamplingAlgorithm
SYSTEMATIC_TIME_BASED_SAMPLING: SamplingAlgorithm
RANDOM_N_OUT_OF_N_SAMPLING: SamplingAlgorithm
UNIFORM_PROBABILISTIC_SAMPLING: SamplingAlgorithm
PROPERTY_MATCH_FILTERING: SamplingAlgorithm
HASH_BASED_FILTERING: SamplingAlgorithm
FLOW_STATE_DEPENDENT_INTERMEDIATE_FLOW_SELECTION_PROCESS: SamplingAlgorithm
V5: NetflowVersion
V9: NetflowVersion
IPFIX: NetflowVersion
SFLOW: NetflowVersion
PUBLIC: Locality
PRIVATE: Locality

class NodeInfo(_message.Message):
    __slots__ = ("foreign_source", "foregin_id", "node_id", "categories")
    FOREIGN_SOURCE_FIELD_NUMBER: _ClassVar[int]
    FOREGIN_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    foreign_source: str
    foregin_id: str
    node_id: int
    categories: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, foreign_source: _Optional[str] = ..., foregin_id: _Optional[str] = ..., node_id: _Optional[int] = ..., categories: _Optional[_Iterable[str]] = ...) -> None: ...

class FlowDocument(_message.Message):
    __slots__ = ("timestamp", "num_bytes", "direction", "dst_address", "dst_hostname", "dst_as", "dst_mask_len", "dst_port", "engine_id", "engine_type", "delta_switched", "first_switched", "last_switched", "num_flow_records", "num_packets", "flow_seq_num", "input_snmp_ifindex", "output_snmp_ifindex", "ip_protocol_version", "next_hop_address", "next_hop_hostname", "protocol", "sampling_algorithm", "sampling_interval", "src_address", "src_hostname", "src_as", "src_mask_len", "src_port", "tcp_flags", "tos", "netflow_version", "vlan", "src_node", "exporter_node", "dest_node", "application", "host", "location", "src_locality", "dst_locality", "flow_locality", "clock_correction", "dscp", "ecn")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    NUM_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    DST_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DST_HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    DST_AS_FIELD_NUMBER: _ClassVar[int]
    DST_MASK_LEN_FIELD_NUMBER: _ClassVar[int]
    DST_PORT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_ID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_TYPE_FIELD_NUMBER: _ClassVar[int]
    DELTA_SWITCHED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SWITCHED_FIELD_NUMBER: _ClassVar[int]
    LAST_SWITCHED_FIELD_NUMBER: _ClassVar[int]
    NUM_FLOW_RECORDS_FIELD_NUMBER: _ClassVar[int]
    NUM_PACKETS_FIELD_NUMBER: _ClassVar[int]
    FLOW_SEQ_NUM_FIELD_NUMBER: _ClassVar[int]
    INPUT_SNMP_IFINDEX_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SNMP_IFINDEX_FIELD_NUMBER: _ClassVar[int]
    IP_PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SRC_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SRC_HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    SRC_AS_FIELD_NUMBER: _ClassVar[int]
    SRC_MASK_LEN_FIELD_NUMBER: _ClassVar[int]
    SRC_PORT_FIELD_NUMBER: _ClassVar[int]
    TCP_FLAGS_FIELD_NUMBER: _ClassVar[int]
    TOS_FIELD_NUMBER: _ClassVar[int]
    NETFLOW_VERSION_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    SRC_NODE_FIELD_NUMBER: _ClassVar[int]
    EXPORTER_NODE_FIELD_NUMBER: _ClassVar[int]
    DEST_NODE_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    SRC_LOCALITY_FIELD_NUMBER: _ClassVar[int]
    DST_LOCALITY_FIELD_NUMBER: _ClassVar[int]
    FLOW_LOCALITY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_CORRECTION_FIELD_NUMBER: _ClassVar[int]
    DSCP_FIELD_NUMBER: _ClassVar[int]
    ECN_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    num_bytes: _wrappers_pb2.UInt64Value
    direction: Direction
    dst_address: str
    dst_hostname: str
    dst_as: _wrappers_pb2.UInt64Value
    dst_mask_len: _wrappers_pb2.UInt32Value
    dst_port: _wrappers_pb2.UInt32Value
    engine_id: _wrappers_pb2.UInt32Value
    engine_type: _wrappers_pb2.UInt32Value
    delta_switched: _wrappers_pb2.UInt64Value
    first_switched: _wrappers_pb2.UInt64Value
    last_switched: _wrappers_pb2.UInt64Value
    num_flow_records: _wrappers_pb2.UInt32Value
    num_packets: _wrappers_pb2.UInt64Value
    flow_seq_num: _wrappers_pb2.UInt64Value
    input_snmp_ifindex: _wrappers_pb2.UInt32Value
    output_snmp_ifindex: _wrappers_pb2.UInt32Value
    ip_protocol_version: _wrappers_pb2.UInt32Value
    next_hop_address: str
    next_hop_hostname: str
    protocol: _wrappers_pb2.UInt32Value
    sampling_algorithm: SamplingAlgorithm
    sampling_interval: _wrappers_pb2.DoubleValue
    src_address: str
    src_hostname: str
    src_as: _wrappers_pb2.UInt64Value
    src_mask_len: _wrappers_pb2.UInt32Value
    src_port: _wrappers_pb2.UInt32Value
    tcp_flags: _wrappers_pb2.UInt32Value
    tos: _wrappers_pb2.UInt32Value
    netflow_version: NetflowVersion
    vlan: str
    src_node: NodeInfo
    exporter_node: NodeInfo
    dest_node: NodeInfo
    application: str
    host: str
    location: str
    src_locality: Locality
    dst_locality: Locality
    flow_locality: Locality
    clock_correction: int
    dscp: _wrappers_pb2.UInt32Value
    ecn: _wrappers_pb2.UInt32Value
    def __init__(self, timestamp: _Optional[int] = ..., num_bytes: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., direction: _Optional[_Union[Direction, str]] = ..., dst_address: _Optional[str] = ..., dst_hostname: _Optional[str] = ..., dst_as: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., dst_mask_len: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., dst_port: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., engine_id: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., engine_type: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., delta_switched: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., first_switched: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., last_switched: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., num_flow_records: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., num_packets: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., flow_seq_num: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., input_snmp_ifindex: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., output_snmp_ifindex: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., ip_protocol_version: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., next_hop_address: _Optional[str] = ..., next_hop_hostname: _Optional[str] = ..., protocol: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., sampling_algorithm: _Optional[_Union[SamplingAlgorithm, str]] = ..., sampling_interval: _Optional[_Union[_wrappers_pb2.DoubleValue, _Mapping]] = ..., src_address: _Optional[str] = ..., src_hostname: _Optional[str] = ..., src_as: _Optional[_Union[_wrappers_pb2.UInt64Value, _Mapping]] = ..., src_mask_len: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., src_port: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., tcp_flags: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., tos: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., netflow_version: _Optional[_Union[NetflowVersion, str]] = ..., vlan: _Optional[str] = ..., src_node: _Optional[_Union[NodeInfo, _Mapping]] = ..., exporter_node: _Optional[_Union[NodeInfo, _Mapping]] = ..., dest_node: _Optional[_Union[NodeInfo, _Mapping]] = ..., application: _Optional[str] = ..., host: _Optional[str] = ..., location: _Optional[str] = ..., src_locality: _Optional[_Union[Locality, str]] = ..., dst_locality: _Optional[_Union[Locality, str]] = ..., flow_locality: _Optional[_Union[Locality, str]] = ..., clock_correction: _Optional[int] = ..., dscp: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., ecn: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ...) -> None: ...
