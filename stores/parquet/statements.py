"""Small pieces of SQL that questions are made of.

In: values and names. Out: text and parameters. Refuses to know what is asked; values never become part of the text, except paths
and numbers of the program itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stores.contract import MEASURES
from stores.questions import Span

Value = str | int | list[str]
QUIET: Final = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
"""DuckDB must not look for anything on the network."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with the values of its $names."""

    text: str
    values: Mapping[str, Value] = field(default_factory=dict)


def where(*conditions: tuple[str, str, Value | None]) -> tuple[str, dict[str, Value]]:
    """Conditions joined by AND, and their values: each is (text with {} for the value, name, value); None leaves it out."""
    used = [(text, name, value) for text, name, value in conditions if value is not None]
    text = " AND ".join(text.format(f"${name}") for text, name, _ in used)
    return text, {name: value for _, name, value in used}


def listed(paths: Sequence[str]) -> str:
    """Paths as an SQL list."""
    return "[" + ", ".join(map(quoted, paths)) + "]"


def quoted(text: str) -> str:
    """Text as an SQL literal, for places where parameters are not allowed."""
    return "'" + text.replace("'", "''") + "'"


def bucket(span: Span, step_ms: int | None) -> str:
    """The step that a window falls into; without steps there is one, the span."""
    return str(span.from_ms) if step_ms is None else f"window_start_ms - window_start_ms % {step_ms}"


def sums(divisor: int = 1) -> str:
    """The sum of each measure under its own name."""
    return ", ".join(f"sum({name}) // {divisor} AS {name}" if divisor > 1 else f"sum({name}) AS {name}" for name in MEASURES)


def latest(paths: Sequence[str], condition: str = "TRUE") -> str:
    """The documents of the highest version of each group and window; of equal versions, per slot, the latest mark's."""
    return f"""
        SELECT * EXCLUDE (newest) FROM (
            SELECT *, max(rows) OVER (PARTITION BY window_start_ms, group_id) AS newest
            FROM read_parquet({listed(paths)}) WHERE {condition}
        ) WHERE rows = newest QUALIFY row_number() OVER (PARTITION BY window_start_ms, group_id, slot ORDER BY mark DESC) = 1"""


def latest_ledger(paths: Sequence[str], condition: str = "TRUE") -> str:
    """The highest version of each row of the ledger; of equal versions, the one of the later report."""
    return f"""
        SELECT * FROM (
            SELECT NULL::BIGINT AS repaired_ms WHERE FALSE
            UNION ALL BY NAME SELECT * FROM read_parquet({listed(paths)}, union_by_name = true) WHERE {condition}
        ) QUALIFY row_number() OVER (
            PARTITION BY minute_ms, booked_ms, lane, exporter_addr, repaired_ms ORDER BY version DESC, until_ms DESC) = 1"""
