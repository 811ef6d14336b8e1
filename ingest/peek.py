"""`nephrite bus peek`: the entries of a bus as people read them.

In: a source of any bus. Out: rows of envelopes, of exporters' reports, or of flows. Changes nothing: no position is recorded.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from bus.contract import Entry, Source
from common.addresses import format_address
from flowpb.codec import ContractError, Header, decode, decode_header
from ingest.render import Row, rows_of

_READ_BYTES: Final = 4 << 20
ENVELOPE: Final = (
    "partition", "offset", "append_ms", "lane", "collector", "epoch", "seq", "mark_ms", "flows", "reports", "octets", "fault",
)  # fmt: skip
REPORT: Final = (
    "partition", "offset", "exporter", "since_ms", "until_ms", "protocol_version", "datagrams", "records", "option_records",
    "duplicates", "socket_drops", "missing", "parked_sets", "templates", "samplers", "clock_offset_ms", "problems", "awaited",
)  # fmt: skip


class Peeked(StrEnum):
    """What of the entries is shown."""

    ENVELOPES = "envelopes"
    REPORTS = "reports"
    ROWS = "rows"


def entries_from(source: Source, partitions: Sequence[int], offset: int | None, last: int | None) -> Iterator[Entry]:
    """Entries of these partitions, from an offset, from the last `last`, or from the beginning, up to the end as it is now."""
    for partition in partitions:
        begin, end = source.begin(partition), source.end(partition)
        at = max(begin, offset if offset is not None else begin if last is None else end - last)
        while at < end and (entries := source.read(partition, at, _READ_BYTES)):
            yield from (entry for entry in entries if entry.offset < end)
            at = entries[-1].offset + 1


def envelope_row(entry: Entry) -> Row:
    """One entry; what is no FlowBatch has its fault instead."""
    place = (entry.partition, entry.offset, entry.append_ms, entry.lane)
    try:
        header, _ = decode_header(entry.value)
    except ContractError as error:
        return (*place, None, None, None, None, None, None, len(entry.value), str(error))
    identity = (header.collector, header.epoch, header.seq, header.mark_ms)
    return (*place, *identity, header.flow_count, len(header.reports), len(entry.value), None)


def report_rows(entry: Entry) -> list[Row]:
    """The reports of one entry; raises ContractError."""
    header, _ = decode_header(entry.value)
    return [_report_row(entry, header, number) for number in range(len(header.reports))]


def flow_rows(entry: Entry, names: Sequence[str]) -> list[Row]:
    """The flows of one entry in these columns; raises ContractError."""
    return rows_of(decode(entry.value)[1], names)


def _report_row(entry: Entry, header: Header, number: int) -> Row:
    report = header.reports[number]
    return (
        entry.partition,
        entry.offset,
        format_address(report.exporter),
        report.since_ms,
        report.until_ms,
        report.protocol_version,
        report.datagrams,
        report.records,
        report.option_records,
        report.duplicates,
        report.socket_drops,
        sum(sequence.missing for sequence in report.sequences),
        report.parked_sets,
        report.templates,
        report.samplers,
        report.clock_offset_ms,
        dict(sorted(report.problems.items())),
        [f"{each.domain}:{each.template_id} ({each.sets})" for each in report.awaited],
    )
