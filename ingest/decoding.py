"""`nephrite decode`: captures through the same decoder as live traffic, and what it found written out.

In: capture files and a wish (flows, options data, templates or problems; how many, which columns, in which form). Out: text, and
closing lines with the counts. Nothing is stored and no state is kept.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import pyarrow as pa

from common.addresses import format_address
from common.config import Ingest
from common.errors import UsageError
from common.metrics import Counters
from flowpb.schema import INGEST_SCHEMA
from ingest.decoder import Datagram, Decoder
from ingest.listeners.pcap import Capture
from ingest.problems import LOGGED
from ingest.protocols.sflow import InterfaceCounters
from ingest.readings import InterfaceReading
from ingest.render import Format, Row, RowWriter, Value, row_writer, rows_of
from ingest.tables import ValueRow
from ingest.templates import VARIABLE

_FED_AT_ONCE: Final = 512
_FOR_PEOPLE: Final = (
    "exporter_addr", "protocol_version", "first_switched_ms", "last_switched_ms", "src_addr", "src_port", "dst_addr", "dst_port",
    "protocol", "in_if", "out_if", "bytes", "packets", "sampling_interval",
)  # fmt: skip


class Shown(StrEnum):
    """What of a capture is written."""

    FLOWS = "flows"
    OPTIONS = "options"
    TEMPLATES = "templates"
    PROBLEMS = "problems"
    COUNTERS = "counters"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; no columns: the usual ones for people, all for programs."""

    shown: Shown = Shown.FLOWS
    form: Format = Format.TABLE
    limit: int | None = None
    columns: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def decode_captures(paths: Sequence[Path], settings: Ingest, wish: Wish, out: TextIO) -> list[str]:
    """Write what was wished for; returns the closing lines. Raises UsageError for unknown columns, InputError for no captures."""
    names: Sequence[str] = _columns(wish)
    counters = Counters()
    decoder = Decoder(settings, 1, counters)
    captures = [Capture(path, wish.ports) for path in paths]
    chunks = (chunk for capture in captures for chunk in _chunks(capture))
    if wish.shown is Shown.FLOWS:
        _write_flows(decoder, chunks, row_writer(wish.form, names, out), names, wish.limit)
    else:
        readings: list[InterfaceReading] = []
        for chunk in chunks:
            decoder.feed_many(chunk)
            decoder.drain()
            readings += decoder.take_interface_readings()
        names, rows = _counters(readings) if wish.shown is Shown.COUNTERS else _TABLES[wish.shown](decoder)
        writer = row_writer(wish.form, names, out)
        writer.write(rows[: wish.limit])
        writer.close()
    return list(_closing_lines(captures, counters))


def _columns(wish: Wish) -> tuple[str, ...]:
    if wish.shown is not Shown.FLOWS:
        return ()
    if not wish.columns:
        return _FOR_PEOPLE if wish.form is Format.TABLE else tuple(INGEST_SCHEMA.names)
    if wish.columns == ("all",):
        return tuple(INGEST_SCHEMA.names)
    unknown = [name for name in wish.columns if name not in INGEST_SCHEMA.names]
    if unknown:
        raise UsageError(f"--columns: no column {', '.join(unknown)}; there are {', '.join(INGEST_SCHEMA.names)}")
    return wish.columns


def _chunks(capture: Capture) -> Iterator[list[Datagram]]:
    chunk: list[Datagram] = []
    for datagram in capture.datagrams():
        chunk.append(datagram)
        if len(chunk) == _FED_AT_ONCE:
            yield chunk
            chunk = []
    yield chunk


def _write_flows(
    decoder: Decoder, chunks: Iterator[list[Datagram]], writer: RowWriter, names: Sequence[str], limit: int | None
) -> None:
    left = limit
    for chunk in chunks:
        decoder.feed_many(chunk)
        for flows in decoder.drain().values():
            ordered = flows.take(pa.array(np.argsort(flows.column("received_ms").to_numpy(), kind="stable")))
            kept = ordered if left is None else ordered.slice(0, left)
            writer.write(rows_of(kept, names))
            left = None if left is None else left - kept.num_rows
        if left == 0:
            break
    writer.close()


def _options(decoder: Decoder) -> tuple[Sequence[str], list[Row]]:
    names = ("exporter", "received_ms", "protocol_version", "domain", "template_id", "values")
    return names, [
        (
            format_address(row.exporter),
            row.received_ms,
            row.protocol_version,
            row.domain,
            row.template_id,
            {value.name: _readable(value) for value in row.values},
        )
        for row in decoder.option_records()
    ]


def _readable(value: ValueRow) -> Value:
    if value.type == "string":
        return value.octets.rstrip(b"\0").decode("utf-8", "replace")
    if value.type.startswith(("unsigned", "dateTime")) and len(value.octets) <= 8:
        return int.from_bytes(value.octets)
    if value.type in ("ipv4Address", "ipv6Address") and len(value.octets) in (4, 16):
        return str(ipaddress.ip_address(value.octets))
    return value.octets.hex()


def _templates(decoder: Decoder) -> tuple[Sequence[str], list[Row]]:
    names = ("exporter", "protocol_version", "domain", "template_id", "kind", "declared_ms", "fields")
    return names, [
        (
            format_address(row.exporter),
            row.protocol_version,
            row.domain,
            row.template_id,
            row.kind,
            row.declared_ms,
            [f"{field.name}[{'variable' if field.length == VARIABLE else field.length}]" for field in row.fields],
        )
        for row in decoder.templates()
    ]


def _located_problems(decoder: Decoder) -> tuple[Sequence[str], list[Row]]:
    names = ("exporter", "received_ms", "protocol_version", "domain", "set_id", "offset", "reason", "text")
    return names, [
        (
            format_address(problem.exporter),
            problem.received_ms,
            problem.protocol,
            problem.domain,
            problem.set_id,
            problem.offset,
            problem.reason.value,
            problem.text,
        )
        for problem in decoder.problems(LOGGED)
    ]


def _counters(readings: Sequence[InterfaceReading]) -> tuple[Sequence[str], list[Row]]:
    return ("exporter", "received_ms", "domain", *InterfaceCounters._fields), [
        (format_address(reading.exporter), reading.received_ms, reading.domain, *reading.counters) for reading in readings
    ]


_TABLES: Final[dict[Shown, Callable[[Decoder], tuple[Sequence[str], list[Row]]]]] = {
    Shown.OPTIONS: _options,
    Shown.TEMPLATES: _templates,
    Shown.PROBLEMS: _located_problems,
}


def _closing_lines(captures: Sequence[Capture], counters: Counters) -> Iterator[str]:
    for capture in captures:
        for reason, count in capture.problems().items():
            counters.add("ingest_problems_total", count, reason=reason)
        if capture.damage:
            yield f"warning: {capture.damage}"
    yield (
        f"{counters.sum('ingest_datagrams_total')} datagrams, {counters.sum('ingest_flows_total')} flows, "
        f"{counters.sum('ingest_option_records_total')} option records; problems: {name_problems(counters)}"
    )


def name_problems(counters: Counters) -> str:
    """What could not be decoded, by reason, in words."""
    totals = sorted(counters.totals.items())
    reasons = {dict(labels)["reason"]: total for (name, labels), total in totals if name == "ingest_problems_total"}
    return ", ".join(f"{reason} {total}" for reason, total in reasons.items()) or "none"
