"""The flows that a conforming collector has to find in the datagrams, in columns of FLOW.

In: rows with the times of their datagrams. Out: a record batch in a subset of INGEST_SCHEMA. Computed from what the datagrams say,
not from the truth: header times of v9 and IPFIX have whole seconds (RFC 3954 section 5.1, RFC 7011 section 3.1), so a time given
by uptime moves by what was cut off; v5 has 16 bits for an AS; each protocol lacks some columns. sFlow tells no times: a sample was
seen when it was received; ports and TCP flags are those that its packet really has.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.addresses import pack_address
from flowpb.schema import ADDRESS, INGEST_SCHEMA, TEXT, SamplingSource
from ingest.loadgen.announce import VERSIONS
from ingest.loadgen.records import Ints, Rows
from ingest.loadgen.scenario import Scenario
from ingest.loadgen.services import ICMP, ICMP6, TCP
from ingest.loadgen.wire.netflow5 import short_as

_SOURCES: Final = {
    "none": SamplingSource.NONE,
    "header": SamplingSource.HEADER,
    "options": SamplingSource.OPTIONS,
    "sampler": SamplingSource.OPTIONS,
    "record": SamplingSource.RECORD,
}
_KEY: Final = ("protocol", "ip_version", "tos", "in_if", "out_if")
_AS_SENT: Final = (*_KEY, "bytes", "packets", "src_mask", "dst_mask")
_UNKNOWN: Final = 255
_SFLOW: Final = VERSIONS["sflow"]


@dataclass(frozen=True, slots=True)
class Carried:
    """Rows with, per row, the times of their datagram, its sequence number, and the correction in force when it came."""

    rows: Rows
    sent_ms: Ints
    received_ms: Ints
    sequence: Ints
    correction_ms: Ints


class Canonical:
    """Rows of a scenario's fleet as FLOW columns."""

    def __init__(self, scenario: Scenario) -> None:
        fleet = scenario.fleet()
        self._location = scenario.location
        self._addresses = pa.array([pack_address(exporter.address) for exporter in fleet], pa.binary(16))
        self._version = np.array([VERSIONS[exporter.protocol] for exporter in fleet])
        self._offset = np.array([exporter.clock_offset_ms for exporter in fleet])
        self._domain = np.array([exporter.domain for exporter in fleet])
        self._time_fields = np.array(["uptime" if e.protocol == "netflow5" else e.time_fields for e in fleet])
        self._active = np.array([e.active_timeout_s * 1000 for e in fleet])
        self._tells_timeout = np.array([e.timeouts_via != "none" for e in fleet])
        self._source = np.array([_SOURCES[e.sampling.via] for e in fleet])
        self._source[self._version == _SFLOW] = SamplingSource.RECORD
        self._source[(self._version == 5) & np.array([e.sampling.interval == 1 for e in fleet])] = SamplingSource.NONE
        self._interval = np.array([float(e.sampling.interval) for e in fleet])

    def tells_time(self, exporter: int) -> bool:
        """Whether the header of its datagrams has a time."""
        return int(self._version[exporter]) != _SFLOW

    def exported_ms(self, exporter: int, sent_ms: int) -> int:
        """The time in the header of a datagram."""
        told = sent_ms + int(self._offset[exporter])
        return told if self._version[exporter] == 5 else told // 1000 * 1000

    def batch(self, carried: Carried) -> pa.RecordBatch:
        """Columns of FLOW in order; where a protocol does not carry a column its rows are null."""
        who, version = carried.rows["exporter"], self._version[carried.rows["exporter"]]
        columns = {name: pa.array(carried.rows[name], INGEST_SCHEMA.field(name).type) for name in _AS_SENT}
        columns |= self._times(carried) | self._exporters(carried, who)
        columns |= {name: addresses(carried.rows[name]) for name in ("src_addr", "dst_addr", "next_hop")}
        for name in ("src_as", "dst_as"):
            columns[name] = pa.array(np.where(version == 5, short_as(carried.rows[name]), carried.rows[name]), pa.uint32())
        sampled, protocol = version == _SFLOW, carried.rows["protocol"]
        for name in ("src_port", "dst_port"):
            columns[name] = pa.array(carried.rows[name], pa.uint16(), mask=sampled & np.isin(protocol, (ICMP, ICMP6)))
        columns["tcp_flags"] = pa.array(carried.rows["tcp_flags"], pa.uint16(), mask=sampled & (protocol != TCP))
        columns["vlan"] = pa.array(carried.rows["vlan"], pa.uint16(), mask=version == 5)
        columns["direction"] = pa.array(carried.rows["direction"], pa.uint8(), mask=carried.rows["direction"] == _UNKNOWN)
        columns["flow_end_reason"] = pa.array(carried.rows["flow_end_reason"], pa.uint8(), mask=version != 10)
        names = [name for name in INGEST_SCHEMA.names if name in columns]
        schema = pa.schema([INGEST_SCHEMA.field(name) for name in names])
        return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)

    def _times(self, carried: Carried) -> dict[str, pa.Array]:
        rows, who = carried.rows, carried.rows["exporter"]
        told = carried.sent_ms + self._offset[who]
        exported = np.where(self._version[who] == 5, told, told // 1000 * 1000)
        first = self._read(rows["first_ms"], carried.sent_ms, exported, who)
        last = self._read(rows["last_ms"], carried.sent_ms, exported, who)
        sampled = self._version[who] == _SFLOW
        first, last, exported = (np.where(sampled, carried.received_ms, told) for told in (first, last, exported))
        delta = np.where(self._tells_timeout[who], np.maximum(first, last - self._active[who]), first)
        times = {
            "received_ms": carried.received_ms,
            "exported_ms": exported,
            "first_switched_ms": first,
            "delta_switched_ms": delta,
            "last_switched_ms": last,
        }
        columns = {name: pa.array(values, pa.int64()) for name, values in times.items()}
        columns["clock_correction_ms"] = pa.array(carried.correction_ms, pa.int64(), mask=carried.correction_ms == 0)
        return columns

    def _read(self, true_ms: Ints, sent_ms: Ints, exported_ms: Ints, who: npt.NDArray[np.int32]) -> Ints:
        """A time as its elements say it: before the export time by the difference of uptimes, or by the exporter's clock."""
        told, fields = true_ms + self._offset[who], self._time_fields[who]
        by_uptime = exported_ms - (sent_ms - true_ms)
        return np.where(fields == "uptime", by_uptime, np.where(fields == "seconds", told // 1000 * 1000, told))

    def _exporters(self, carried: Carried, who: npt.NDArray[np.int32]) -> dict[str, pa.Array]:
        count, source = len(who), self._source[who]
        return {
            "exporter_addr": pa.DictionaryArray.from_arrays(pa.array(who, pa.int32()), self._addresses).cast(ADDRESS),
            "observation_domain": pa.array(self._domain[who], pa.uint32()),
            "protocol_version": pa.array(self._version[who], pa.uint8()),
            "location": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), [self._location]).cast(TEXT),
            "flow_seq_num": pa.array(carried.sequence & 0xFFFFFFFF, pa.uint32()),
            "sampling_interval": pa.array(self._interval[who], pa.float64(), mask=source == SamplingSource.NONE),
            "sampling_source": pa.array(source, pa.uint8()),
        }


def addresses(octets: npt.NDArray[np.uint8]) -> pa.DictionaryArray:
    """Rows of 16 octets as a column of FLOW."""
    flat = np.ascontiguousarray(octets)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(flat), [None, pa.py_buffer(flat)]).dictionary_encode()
