"""What an exporter announces again and again: templates, and options data about sampling, timeouts and interfaces.

In: an exporter. Out: the sets of one datagram, and how many records they hold. Refuses to know when they are sent. v5 and
sFlow announce nothing.
"""

import struct
from dataclasses import dataclass
from typing import Final

from ingest.loadgen.scenario import Exporter
from ingest.loadgen.wire import ipfix, netflow9
from ingest.loadgen.wire.fields import VARIABLE, Field, Layout, Shape, flow_layout

VERSIONS: Final = {"netflow5": 5, "netflow9": 9, "ipfix": 10, "sflow": 105}
"""Values of protocol_version. sFlow counts its own versions, so its 5 is 105 (flowpb.schema)."""
TEMPLATED: Final = ("netflow9", "ipfix")
SAMPLER: Final = 1
_FLOWS_V4, _FLOWS_V6, _SAMPLING, _SAMPLERS, _INTERFACES, _TIMEOUTS = 256, 257, 512, 513, 514, 515
_SYSTEMATIC: Final = 1
_NAMED: Final = 8
_SAMPLING_OPTIONS: Final = (Field(34, 4), Field(35, 1))
_TIMEOUT_OPTIONS: Final = (Field(36, 2), Field(37, 2))


@dataclass(frozen=True, slots=True)
class Announcement:
    """Sets to send in one datagram; `records` as v9's header counts them, `data_records` as IPFIX's sequence does."""

    body: bytes
    records: int
    data_records: int


@dataclass(frozen=True, slots=True)
class _Options:
    template_id: int
    scope: Field
    fields: tuple[Field, ...]
    rows: tuple[bytes, ...]


def shape_of(exporter: Exporter) -> Shape:
    """What decides the fields of its records."""
    return Shape(
        VERSIONS[exporter.protocol],
        exporter.time_fields,
        exporter.direction != "unknown",
        exporter.sampling.via,
        exporter.timeouts_via,
    )


def layouts_of(exporter: Exporter) -> tuple[Layout, Layout]:
    """Its templates of IPv4 and IPv6 flows."""
    shape = shape_of(exporter)
    return flow_layout(shape, 4, _FLOWS_V4), flow_layout(shape, 6, _FLOWS_V6)


def announce(exporter: Exporter) -> Announcement:
    """Everything that a collector has to know before it can read the exporter's flows."""
    layouts = layouts_of(exporter)
    if exporter.protocol == "netflow9":
        tables = _options9(exporter)
        templates = [netflow9.template_flowset(layouts)]
        templates += [netflow9.options_template_flowset(t.template_id, (t.scope,), t.fields) for t in tables]
        data = [netflow9.flowset(t.template_id, b"".join(t.rows)) for t in tables]
    else:
        tables = _options_ipfix(exporter)
        templates = [ipfix.template_set(layouts)]
        templates += [ipfix.options_template_set(t.template_id, (t.scope,), t.fields) for t in tables]
        data = [ipfix.record_set(t.template_id, b"".join(t.rows)) for t in tables]
    rows = sum(len(t.rows) for t in tables)
    return Announcement(b"".join(templates + data), len(layouts) + len(tables) + rows, rows)


def _options9(exporter: Exporter) -> list[_Options]:
    system, tables = Field(netflow9.SCOPE_SYSTEM, 4), []
    scope, interval = struct.pack("!I", exporter.domain), exporter.sampling.interval
    if exporter.sampling.via == "options":
        tables.append(_Options(_SAMPLING, system, _SAMPLING_OPTIONS, (scope + struct.pack("!IB", interval, _SYSTEMATIC),)))
    if exporter.sampling.via == "sampler":
        fields = (Field(48, 1), Field(49, 1), Field(50, 4))
        tables.append(_Options(_SAMPLERS, system, fields, (scope + struct.pack("!BBI", SAMPLER, _SYSTEMATIC, interval),)))
    if exporter.timeouts_via == "options":
        tables.append(_Options(_TIMEOUTS, system, _TIMEOUT_OPTIONS, (scope + _timeouts(exporter),)))
    if exporter.interface_names:
        rows = tuple(struct.pack("!I32s64s", index, name, alias) for index, name, alias in interface_names(exporter))
        tables.append(_Options(_INTERFACES, Field(netflow9.SCOPE_INTERFACE, 4), (Field(82, 32), Field(83, 64)), rows))
    return tables


def _options_ipfix(exporter: Exporter) -> list[_Options]:
    domain, tables = Field(149, 4), []
    scope, interval = struct.pack("!I", exporter.domain), exporter.sampling.interval
    if exporter.sampling.via == "options":
        tables.append(_Options(_SAMPLING, domain, _SAMPLING_OPTIONS, (scope + struct.pack("!IB", interval, _SYSTEMATIC),)))
    if exporter.sampling.via == "sampler":
        fields = (Field(304, 2), Field(305, 4), Field(306, 4))
        tables.append(_Options(_SAMPLERS, Field(302, 4), fields, (struct.pack("!IHII", SAMPLER, _SYSTEMATIC, 1, interval - 1),)))
    if exporter.timeouts_via == "options":
        tables.append(_Options(_TIMEOUTS, domain, _TIMEOUT_OPTIONS, (scope + _timeouts(exporter),)))
    if exporter.interface_names:
        names = interface_names(exporter)
        rows = tuple(struct.pack("!I", index) + ipfix.variable(name) + ipfix.variable(alias) for index, name, alias in names)
        tables.append(_Options(_INTERFACES, Field(10, 4), (Field(82, VARIABLE), Field(83, VARIABLE)), rows))
    return tables


def _timeouts(exporter: Exporter) -> bytes:
    return struct.pack("!HH", exporter.active_timeout_s, exporter.inactive_timeout_s)


def interface_names(exporter: Exporter) -> list[tuple[int, bytes, bytes]]:
    """(ifIndex, name, alias) of the exporter's first interfaces."""
    indices = range(exporter.first_if_index, exporter.first_if_index + min(exporter.interfaces, _NAMED))
    return [(index, b"Gi0/%d" % index, b"link %d of %s" % (index, exporter.address.encode())) for index in indices]
