"""The ledger as a sheet: what came, and what was lost where.

In: an answer of the ledger. Out: a Sheet. Refuses to ask and to print.
"""

from typing import TYPE_CHECKING, Any

from common.addresses import format_address, pack_address
from query.honesty import REASONS, completeness_of
from query.output import Sheet, Shown, show_count, show_share
from query.times import show_span, show_time
from stores.contract import LEDGER_ANSWER
from stores.questions import LedgerQuery

if TYPE_CHECKING:
    from stores.contract import Ledger


def ledger_sheet(answer: "Ledger", query: LedgerQuery) -> Sheet:
    """One row per exporter or step; rows without an exporter are of the lanes themselves."""
    rows = answer.rows.to_pylist()
    known = completeness_of(answer, "1m")
    first = [
        *([Shown("From", [show_time(row["start_ms"]) for row in rows])] if query.step_ms else []),
        *([Shown("Exporter", [row["exporter"] or "(lanes)" for row in rows])] if query.by_exporter else []),
    ]
    table = [
        *first,
        _shown("Datagrams", rows, "datagrams"),
        _shown("Twice", rows, "duplicates"),
        _shown("Decoded", rows, "flows_decoded"),
        _shown("Received", rows, "flows_received"),
        _shown("Late", rows, "flows_late"),
        _shown("Lost", rows, "flows_lost"),
        _shown("Dropped", rows, "flows_dropped"),
        _shown("Undecodable", rows, "flows_undecodable"),
        _shown("Lost on bus", rows, "flows_lost_on_bus"),
        Shown("Seen", [_seen(row) for row in rows], right=True),
        *([_shown("Awaited", rows, "awaited_templates")] if any(row["awaited_templates"] for row in rows) else []),
    ]
    about = {
        "from_ms": query.span.from_ms,
        "to_ms": query.span.to_ms,
        "data_from_ms": answer.data and answer.data.from_ms,
        "data_to_ms": answer.data and answer.data.to_ms,
        "exporter": query.exporter,
        "completeness": known and known.as_json(),
    }
    notes = [known.as_line()] if known else []
    return Sheet(rows, LEDGER_ANSWER.names, table, about, f"Ledger of receive time: {show_span(query.span)}", notes)


def losses_by_exporter(answer: "Ledger") -> dict[str, dict[str, int]]:
    """What the ledger counts as lost, by exporter; nothing where there is no ledger."""
    columns = ("flows_received", *(column for column, _ in REASONS.values()))
    return {_plain(row["exporter"]): {name: row[name] for name in columns} for row in answer.rows.to_pylist() if row["exporter"]}


def show_lost(counts: dict[str, int] | None) -> str:
    """The share of an exporter's flows that is known to be lost."""
    if counts is None:
        return ""
    lost = sum(count for name, count in counts.items() if name != "flows_received")
    return show_share(lost, counts["flows_received"] + lost - counts["flows_late"])


def _shown(title: str, rows: list[dict[str, Any]], name: str) -> Shown:
    return Shown(title, [show_count(row[name]) for row in rows], right=True)


def _seen(row: dict[str, Any]) -> str:
    if row["batches"] and not row["flows_received"]:  # the lanes' own row
        return ""
    seen = row["flows_received"] - row["flows_late"]
    return show_share(seen, seen + sum(row[column] for column, _ in REASONS.values()))


def _plain(address: str) -> str:
    return format_address(pack_address(address))
