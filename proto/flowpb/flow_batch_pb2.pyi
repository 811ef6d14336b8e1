from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlowBatch(_message.Message):
    __slots__ = ("schema_version", "collector", "epoch", "lane", "seq", "mark_ms", "lanes", "flow_count", "records", "reports")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    MARK_MS_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    FLOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    collector: str
    epoch: int
    lane: int
    seq: int
    mark_ms: int
    lanes: int
    flow_count: int
    records: bytes
    reports: _containers.RepeatedCompositeFieldContainer[ExporterReport]
    def __init__(self, schema_version: _Optional[int] = ..., collector: _Optional[str] = ..., epoch: _Optional[int] = ..., lane: _Optional[int] = ..., seq: _Optional[int] = ..., mark_ms: _Optional[int] = ..., lanes: _Optional[int] = ..., flow_count: _Optional[int] = ..., records: _Optional[bytes] = ..., reports: _Optional[_Iterable[_Union[ExporterReport, _Mapping]]] = ...) -> None: ...

class ExporterReport(_message.Message):
    __slots__ = ("exporter", "since_ms", "until_ms", "datagrams", "duplicates", "records", "option_records", "problems", "parked_sets", "replayed_sets", "expired_sets", "sequences", "socket_drops", "clock_offset_ms", "templates", "samplers", "awaited", "protocol_version", "interfaces")
    class ProblemsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EXPORTER_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    DATAGRAMS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    OPTION_RECORDS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    PARKED_SETS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_SETS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_SETS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    SOCKET_DROPS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_MS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    SAMPLERS_FIELD_NUMBER: _ClassVar[int]
    AWAITED_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    exporter: bytes
    since_ms: int
    until_ms: int
    datagrams: int
    duplicates: int
    records: int
    option_records: int
    problems: _containers.ScalarMap[str, int]
    parked_sets: int
    replayed_sets: int
    expired_sets: int
    sequences: _containers.RepeatedCompositeFieldContainer[SequenceReport]
    socket_drops: int
    clock_offset_ms: int
    templates: int
    samplers: int
    awaited: _containers.RepeatedCompositeFieldContainer[AwaitedTemplate]
    protocol_version: int
    interfaces: _containers.RepeatedCompositeFieldContainer[InterfaceCounters]
    def __init__(self, exporter: _Optional[bytes] = ..., since_ms: _Optional[int] = ..., until_ms: _Optional[int] = ..., datagrams: _Optional[int] = ..., duplicates: _Optional[int] = ..., records: _Optional[int] = ..., option_records: _Optional[int] = ..., problems: _Optional[_Mapping[str, int]] = ..., parked_sets: _Optional[int] = ..., replayed_sets: _Optional[int] = ..., expired_sets: _Optional[int] = ..., sequences: _Optional[_Iterable[_Union[SequenceReport, _Mapping]]] = ..., socket_drops: _Optional[int] = ..., clock_offset_ms: _Optional[int] = ..., templates: _Optional[int] = ..., samplers: _Optional[int] = ..., awaited: _Optional[_Iterable[_Union[AwaitedTemplate, _Mapping]]] = ..., protocol_version: _Optional[int] = ..., interfaces: _Optional[_Iterable[_Union[InterfaceCounters, _Mapping]]] = ...) -> None: ...

class SequenceReport(_message.Message):
    __slots__ = ("domain", "protocol_version", "unit", "received", "missing", "reordered", "restarts", "missing_flows", "waiting", "undecoded")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    REORDERED_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FLOWS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    UNDECODED_FIELD_NUMBER: _ClassVar[int]
    domain: int
    protocol_version: int
    unit: str
    received: int
    missing: int
    reordered: int
    restarts: int
    missing_flows: int
    waiting: int
    undecoded: int
    def __init__(self, domain: _Optional[int] = ..., protocol_version: _Optional[int] = ..., unit: _Optional[str] = ..., received: _Optional[int] = ..., missing: _Optional[int] = ..., reordered: _Optional[int] = ..., restarts: _Optional[int] = ..., missing_flows: _Optional[int] = ..., waiting: _Optional[int] = ..., undecoded: _Optional[int] = ...) -> None: ...

class InterfaceCounters(_message.Message):
    __slots__ = ("received_ms", "domain", "if_index", "if_type", "speed", "duplex", "status", "in_octets", "in_unicast", "in_multicast", "in_broadcast", "in_discards", "in_errors", "in_unknown", "out_octets", "out_unicast", "out_multicast", "out_broadcast", "out_discards", "out_errors", "promiscuous")
    RECEIVED_MS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    IF_INDEX_FIELD_NUMBER: _ClassVar[int]
    IF_TYPE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    DUPLEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    IN_OCTETS_FIELD_NUMBER: _ClassVar[int]
    IN_UNICAST_FIELD_NUMBER: _ClassVar[int]
    IN_MULTICAST_FIELD_NUMBER: _ClassVar[int]
    IN_BROADCAST_FIELD_NUMBER: _ClassVar[int]
    IN_DISCARDS_FIELD_NUMBER: _ClassVar[int]
    IN_ERRORS_FIELD_NUMBER: _ClassVar[int]
    IN_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    OUT_OCTETS_FIELD_NUMBER: _ClassVar[int]
    OUT_UNICAST_FIELD_NUMBER: _ClassVar[int]
    OUT_MULTICAST_FIELD_NUMBER: _ClassVar[int]
    OUT_BROADCAST_FIELD_NUMBER: _ClassVar[int]
    OUT_DISCARDS_FIELD_NUMBER: _ClassVar[int]
    OUT_ERRORS_FIELD_NUMBER: _ClassVar[int]
    PROMISCUOUS_FIELD_NUMBER: _ClassVar[int]
    received_ms: int
    domain: int
    if_index: int
    if_type: int
    speed: int
    duplex: int
    status: int
    in_octets: int
    in_unicast: int
    in_multicast: int
    in_broadcast: int
    in_discards: int
    in_errors: int
    in_unknown: int
    out_octets: int
    out_unicast: int
    out_multicast: int
    out_broadcast: int
    out_discards: int
    out_errors: int
    promiscuous: int
    def __init__(self, received_ms: _Optional[int] = ..., domain: _Optional[int] = ..., if_index: _Optional[int] = ..., if_type: _Optional[int] = ..., speed: _Optional[int] = ..., duplex: _Optional[int] = ..., status: _Optional[int] = ..., in_octets: _Optional[int] = ..., in_unicast: _Optional[int] = ..., in_multicast: _Optional[int] = ..., in_broadcast: _Optional[int] = ..., in_discards: _Optional[int] = ..., in_errors: _Optional[int] = ..., in_unknown: _Optional[int] = ..., out_octets: _Optional[int] = ..., out_unicast: _Optional[int] = ..., out_multicast: _Optional[int] = ..., out_broadcast: _Optional[int] = ..., out_discards: _Optional[int] = ..., out_errors: _Optional[int] = ..., promiscuous: _Optional[int] = ...) -> None: ...

class AwaitedTemplate(_message.Message):
    __slots__ = ("domain", "template_id", "sets")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    domain: int
    template_id: int
    sets: int
    def __init__(self, domain: _Optional[int] = ..., template_id: _Optional[int] = ..., sets: _Optional[int] = ...) -> None: ...
