"""The ledger as one statement over its files.

In: paths and a question. Out: SQL for rows of LEDGER_ANSWER, and for the first and last minute. Refuses to know where files are.
"""

from collections.abc import Sequence

from flowpb.groupings import WINDOW_MS
from flowpb.ledger import ESTIMATES, LASTS, SUMS
from stores.parquet.statements import Statement, latest_ledger, listed, where
from stores.questions import LedgerQuery


def ledger_table(settled: Sequence[str], open_: Sequence[str], query: LedgerQuery) -> Statement:
    """Makes `ledger`, the newest version of each row: `settled` files hold one version of each, `open_` ones may hold several."""
    conditions, values = where(
        ("minute_ms >= {}", "from", query.span.from_ms),
        ("minute_ms < {}", "to", query.span.to_ms),
        ("exporter_addr = {}", "exporter", query.exporter),
    )
    parts = ["SELECT * FROM no_ledger"]
    if settled:
        parts.append(f"SELECT * FROM read_parquet({listed(settled)}, union_by_name = true) WHERE {conditions}")
    if open_:
        parts.append(f"SELECT * FROM ({latest_ledger(open_, conditions)})")
    text = f"CREATE OR REPLACE TEMP TABLE ledger AS {' UNION ALL BY NAME '.join(parts)}"
    return Statement(text, values if len(parts) > 1 else {})


def ledger_sums(query: LedgerQuery) -> str:
    """The rows of the answer, out of `ledger`."""
    start = str(query.span.from_ms) if query.step_ms is None else f"minute_ms - minute_ms % {query.step_ms}"
    columns = [
        f"{start} AS start_ms",
        f"{'exporter_addr' if query.by_exporter else 'NULL'} AS exporter",
        *(f"greatest(coalesce(sum({name}), 0), 0) AS {name}" for name in (*SUMS, *ESTIMATES)),
        *(f"coalesce(arg_max({name}, until_ms), 0) AS {name}" for name in LASTS),
        "coalesce(min(nullif(since_ms, 0)), 0) AS since_ms",
        "coalesce(max(until_ms), 0) AS until_ms",
    ]
    return f"SELECT {', '.join(columns)} FROM ledger GROUP BY ALL ORDER BY start_ms, exporter NULLS LAST"


def ledger_range() -> str:
    """The first minute and the end of the last."""
    return f"SELECT min(minute_ms), max(minute_ms) + {WINDOW_MS} FROM ledger"
