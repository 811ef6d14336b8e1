"""LEDGER: one row per (receive minute, lane, exporter), what came, what was lost on the way, and where.

In: nothing. Out: the fields of ledger rows, how rows of one key are merged, the Arrow schema, and the closed sets of units and
problems that it is made of. Refuses to know how rows are computed and stored (docs/explanation/numbers.md, The ledger).
"""

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

LEVEL_LEDGER: Final = "ledger"
MARK_DELAY_MS: Final = 10_000
"""A minute's rows are written when the lane's frontier is that far beyond its end."""

UNITS: Final = ("flows", "packets", "records", "datagrams")
"""What sequence numbers count: NetFlow v5, v9, IPFIX, sFlow."""
PROBLEMS: Final = (
    *("unknown_protocol", "truncated_header", "length_mismatch", "set_length", "reserved_set", "template_malformed"),
    *("template_missing", "template_evicted", "exporter_evicted", "parked_expired", "parked_refused", "record_truncated"),
    *("options_refused", "duplicate", "times_repaired", "unknown_element", "sample_malformed", "readings_dropped"),
)
"""Keys of ExporterReport.problems; what a later version adds counts as `other`."""
OTHER_PROBLEM: Final = "other"

Merge = Literal["key", "sum", "last", "min", "max", "estimate"]


@dataclass(frozen=True, slots=True)
class LedgerField:
    """One column; `json` is its path in a document. Rows of one key are merged by `merge`: `last` is that of the latest report."""

    name: str
    json: str
    merge: Merge
    help: str
    es_type: str = "long"


def _of(merge: Merge, *fields: tuple[str, str]) -> tuple[LedgerField, ...]:
    return tuple(LedgerField(name, name, merge, text) for name, text in fields)


LEDGER: Final[tuple[LedgerField, ...]] = (
    LedgerField("minute_ms", "minute", "key", "the receive minute: that of the batch's mark", "date"),
    LedgerField("booked_ms", "booked", "key", "the minute in which it was booked, later where its own was closed already", "date"),
    LedgerField("lane", "lane", "key", "lane of the exporter", "short"),
    LedgerField(
        "repaired_ms",
        "repaired",
        "key",
        "the window whose repair wrote this row about flows of the minute; null: what came",
        "date",
    ),
    LedgerField(
        *("exporter_addr", "exporter.address", "key", "the exporter; null: batches of the lane, and exporters beyond the bound"),
        "ip",
    ),
    *_of(
        "sum",
        ("version", "reports and batches merged: a larger one replaces a smaller one"),
        ("datagrams", "datagrams received"),
        ("duplicates", "of these, repeats that were dropped"),
        ("flows_decoded", "flows that ingest decoded"),
        ("option_records", "options records decoded"),
        ("replayed_sets", "data sets that waited and were decoded"),
        ("expired_sets", "data sets given up, their template never came or there was no room to wait"),
        ("socket_drops", "datagrams dropped at this collector before they were decoded"),
        *((f"received_{unit}", f"sequence units received, counted in {unit}") for unit in UNITS),
        *((f"missing_{unit}", f"gaps in sequence numbers that count {unit}") for unit in UNITS),
        ("missing_in_flows", "flows in the gaps, as the collector estimates them"),
        ("undecoded_records", "IPFIX records that the gaps show, received but given up"),
        ("reordered", "datagrams that came after a later one"),
        ("restarts", "sequences that began anew"),
        *((f"problem_{reason}", f"problems: {reason}") for reason in (*PROBLEMS, OTHER_PROBLEM)),
        ("batches", "batches read from the bus; of the lane only"),
        ("batches_missing", "holes in the batches' numbers: lost on the bus; of the lane only"),
        ("flows_received", "flows that the pipeline read"),
        ("flows_late", "of these, flows too old for the aggregates; a repair's row takes away those that it has put there"),
        ("flows_repaired", "flows that were late, and that a repair has put into the aggregates"),
        ("flows_future", "flows that ended in the future, repaired"),
        ("flows_reversed", "flows that began after their end, repaired"),
        ("counters_saturated", "octet and packet counters cut to 2^63 - 1"),
        ("clipped_bytes", "octets moved to the horizon"),
        ("packets_sampled", "packets of flows that were sampled, as exported"),
        ("packets_scaled", "the same times their sampling intervals"),
    ),
    *_of(
        "last",
        ("protocol_version", "as flowpb.schema.ProtocolVersion"),
        ("parked_sets", "data sets that wait for their template"),
        ("clock_offset_ms", "correction of its clock in force"),
        ("templates", "templates in force"),
        ("samplers", "samplers known"),
        ("awaited_templates", "templates that data waits for"),
    ),
    *_of("min", ("since_ms", "begin of the first report")),
    *_of("max", ("until_ms", "end of the last report")),
    *_of(
        "estimate",
        ("flows_lost", "flows lost on the way to the collector, from gaps in sequence numbers"),
        ("flows_dropped", "flows lost in the collector's sockets and queue"),
        ("flows_undecodable", "flows in what could not be decoded"),
        ("flows_lost_on_bus", "flows in batches that the bus lost; of the lane only"),
    ),
)


def names_of(*merges: Merge) -> tuple[str, ...]:
    """Names of the fields that are merged so, in order."""
    return tuple(field.name for field in LEDGER if field.merge in merges)


KEYS: Final = names_of("key")
SUMS: Final = names_of("sum")
LASTS: Final = names_of("last")
ESTIMATES: Final = names_of("estimate")
LEDGER_SCHEMA: Final = pa.schema([(field.name, pa.string() if field.name == "exporter_addr" else pa.int64()) for field in LEDGER])
