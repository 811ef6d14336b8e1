"""What the ledger is told: the reports of collectors, and what lay-out did to flows.

In: reports as batches carry them, and counts by batch and exporter, each with the batch's mark and frontier. Out: rows. Refuses to
know state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.judged import Judged
from columns.ledger_rows import AT, COLUMNS, NOBODY, Rows, pack_offset
from flowpb.flow_batch_pb2 import ExporterReport
from flowpb.groupings import HORIZON_MS, WINDOW_MS
from flowpb.ledger import OTHER_PROBLEM, PROBLEMS, UNITS

_JUDGED: Final = (  # as columns.judged.COUNTS
    "flows_received",
    "flows_late",
    "flows_future",
    "flows_reversed",
    "counters_saturated",
    "clipped_bytes",
    "packets_sampled",
    "packets_scaled",
)
_FAR: Final = 2**63 - 1
_PLAIN: Final = (
    *("datagrams", "duplicates", "option_records", "replayed_sets", "expired_sets", "socket_drops"),
    *("protocol_version", "parked_sets", "templates", "samplers", "since_ms", "until_ms"),
)
"""Fields of a report that are columns of the same name."""


@dataclass(frozen=True, slots=True)
class BatchReports:
    """One batch of a lane's log: `missing` batches of its collector never came before it."""

    mark_ms: int
    frontier_ms: int
    reports: Sequence[ExporterReport]
    missing: int = 0


def minutes_of(mark_ms: int, frontier_ms: int) -> tuple[int, int]:
    """(booked, own) minute of a batch: booked in the frontier's where its own may be closed. A pure function of the lane's log."""
    minute = max(mark_ms, 0) // WINDOW_MS
    is_open = (minute + 1) * WINDOW_MS + HORIZON_MS > frontier_ms
    return (minute if is_open else frontier_ms // WINDOW_MS), minute


def rows_of_reports(batches: Sequence[BatchReports]) -> Rows:
    """A row per report, and one of the lane per batch; not merged."""
    lines: list[list[int]] = []
    keys: list[tuple[int, int, int, int]] = []
    for batch in batches:
        minutes = minutes_of(batch.mark_ms, batch.frontier_ms)
        keys.append((*minutes, *NOBODY))
        lines.append(_line_of_batch(batch.missing))
        for report in batch.reports:
            address = report.exporter
            keys.append((*minutes, int.from_bytes(address[:8], "big"), int.from_bytes(address[8:], "big")))
            lines.append(_line(report))
    table = np.array(keys, np.uint64).reshape(-1, 4)
    values = np.array(lines, np.int64).reshape(-1, len(COLUMNS)).T
    return Rows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:], values)


def rows_of_judged(judged: Judged, batches: Sequence[tuple[int, int]]) -> Rows:
    """A row per (batch, exporter) with flows; `batches` are (mark, frontier) by the numbers in `judged`."""
    minutes = np.array([minutes_of(*batch) for batch in batches], np.int64).reshape(-1, 2)[judged.batch]
    values = np.zeros((len(COLUMNS), len(judged.batch)), np.int64)
    for name, counts in zip(_JUDGED, judged.counts, strict=True):
        values[AT[name]] = counts
    values[AT["version"]] = 1
    return Rows(minutes[:, 0], minutes[:, 1], judged.exporter, values)


def _line_of_batch(missing: int) -> list[int]:
    line = [0] * len(COLUMNS)
    line[AT["version"]] = line[AT["batches"]] = 1
    line[AT["batches_missing"]] = min(missing, _FAR >> 16)
    return line


def _line(report: ExporterReport) -> list[int]:
    line = [0] * len(COLUMNS)
    line[AT["version"]] = 1
    for name in _PLAIN:
        line[AT[name]] = min(max(getattr(report, name), 0), _FAR)
    line[AT["flows_decoded"]] = min(report.records, _FAR)
    line[AT["clock_offset_ms"]] = pack_offset(min(max(report.clock_offset_ms, -(2**61)), 2**61))
    line[AT["awaited_templates"]] = len(report.awaited)
    for reason, count in report.problems.items():
        line[AT[f"problem_{reason if reason in PROBLEMS else OTHER_PROBLEM}"]] += min(count, _FAR >> 8)
    for sequence in report.sequences:
        line[AT["reordered"]] += min(sequence.reordered, _FAR >> 16)
        line[AT["restarts"]] += min(sequence.restarts, _FAR >> 16)
        line[AT["missing_in_flows"]] += min(sequence.missing_flows, _FAR >> 16)
        line[AT["undecoded_records"]] += min(sequence.undecoded, _FAR >> 16)
        if sequence.unit in UNITS:
            line[AT[f"received_{sequence.unit}"]] += min(sequence.received, _FAR >> 16)
            line[AT[f"missing_{sequence.unit}"]] += min(sequence.missing, _FAR >> 16)
    return line
