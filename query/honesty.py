"""What an answer does not know: completeness out of the ledger, and the error of sampling.

In: the ledger of an answer's range, and the packets that it shows. Out: the same for programs and in a line for people. Refuses to
ask stores. Both are estimates: flows of [a, b] reach the collector until b + the active timeout, so that the ledger's minutes
[a, b + active timeout] are joined, with whatever else came in them (docs/explanation/numbers.md, Completeness and accuracy).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flowpb.groupings import HORIZON_MS
from query.output import Sheet, show_share
from stores.questions import Span

if TYPE_CHECKING:
    from stores.contract import Ledger

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "on_the_way": ("flows_lost", "on the way to the collector"),
    "at_the_collector": ("flows_dropped", "in the collector's sockets and queue"),
    "undecodable": ("flows_undecodable", "undecodable"),
    "on_the_bus": ("flows_lost_on_bus", "on the bus"),
    "late": ("flows_late", "too late for the aggregates"),
}
"""Reason, the column of the ledger, and how people read it."""
_REPAIRED: Final = ("flows_future", "flows_reversed", "counters_saturated", "clipped_bytes")
_CONFIDENCE: Final = 1.96
"""Standard deviations on each side that hold 95 % of all samples of a normal distribution."""
_SHOWN: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Completeness:
    """`seen` flows of the answer's kind, and `lost` ones by reason, among the receive minutes in `span`."""

    span: Span
    seen: int
    lost: Mapping[str, int]
    repaired: Mapping[str, int]

    @property
    def share(self) -> float | None:
        """The share of flows that the answer has; None where there was nothing to see."""
        total = self.seen + sum(self.lost.values())
        return self.seen / total if total else None

    def as_json(self) -> dict[str, object]:
        """For programs; everything is an estimate."""
        return {
            "estimate": True,
            "from_ms": self.span.from_ms,
            "to_ms": self.span.to_ms,
            "share": None if self.share is None else round(self.share, 6),
            "flows_seen": self.seen,
            "flows_lost": dict(self.lost),
            "changed": dict(self.repaired),
        }

    def as_line(self) -> str:
        """For people."""
        if self.share is None:
            return "completeness: no flows came"
        total = self.seen + sum(self.lost.values())
        parts = [f"{show_share(count, total)} {REASONS[name][1]}" for name, count in self.lost.items() if count > _SHOWN * total]
        if not parts:
            return "completeness: as far as is known, all flows were seen (estimate)"
        return f"completeness: about {show_share(self.seen, total)} of the flows were seen; lost: {', '.join(parts)} (estimate)"


def joined(span: Span, active_timeout_s: int | None) -> Span:
    """The receive minutes of an answer; the horizon, behind which nothing is aggregated, stands for an unknown timeout."""
    return Span(span.from_ms, span.to_ms + (HORIZON_MS if active_timeout_s is None else active_timeout_s * 1000))


def completeness_of(ledger: "Ledger", source: str) -> Completeness | None:
    """What the ledger says about an answer from `source`; None where it has nothing. Raw flows have those that are late."""
    if ledger.data is None:
        return None
    totals = totals_of(ledger)
    lost = {name: totals[column] for name, (column, _) in REASONS.items() if not (name == "late" and source == "raw")}
    seen = totals["flows_received"] - lost.get("late", 0)
    return Completeness(ledger.data, seen, lost, {name: totals[name] for name in _REPAIRED})


def totals_of(ledger: "Ledger") -> dict[str, int]:
    """Sums over all rows."""
    numbers = [name for name in ledger.rows.schema.names if name not in ("start_ms", "exporter")]
    return {name: sum(ledger.rows[name].to_pylist()) for name in numbers}


def sampling_error(packets: int, sampled: int, scaled: int) -> float | None:
    """Relative error, at 95 % confidence, of a value that shows `packets` scaled packets; None where nothing was sampled.

    196 % x sqrt(1 / n) for n sampled packets (Phaal and Panchen, Packet Sampling Basics, sflow.org). n is not kept per item: it is
    `packets` over the mean sampling interval, `scaled` / `sampled` packets, of the exporters asked about.
    """
    if not (packets and sampled and scaled > sampled):
        return None
    return _CONFIDENCE / math.sqrt(max(packets * sampled / scaled, 1.0))


def honest(sheet: Sheet, ledger: "Ledger", source: str, packets: Sequence[int]) -> Sheet:
    """The sheet with what its answer does not know; `packets` are those of its total and then of its items."""
    known = completeness_of(ledger, source)
    totals = totals_of(ledger)
    errors = [sampling_error(each, totals["packets_sampled"], totals["packets_scaled"]) for each in packets]
    bounds = sheet.about.get("accuracy")
    accuracy = bounds if isinstance(bounds, dict) else {}
    sampling = {
        "packets_sampled": totals["packets_sampled"],
        "relative_error": _rounded(errors[0] if errors else None),
        "relative_error_of_items": [_rounded(error) for error in errors[1:]],
    }
    about = {
        **sheet.about,
        "accuracy": {**accuracy, "sampling": sampling if totals["packets_sampled"] else None},
        "completeness": known and known.as_json(),
    }
    notes = [*sheet.notes, *([known.as_line()] if known else []), *_sampling_line(errors)]
    return replace(sheet, about=about, notes=notes)


def _sampling_line(errors: Sequence[float | None]) -> list[str]:
    if not errors or errors[0] is None:
        return []
    worst = max(error for error in errors if error is not None)
    items = f", up to +- {min(worst, 1):.2%} for the rows" if len(errors) > 1 else ""
    return [f"sampled: the total is within +- {min(errors[0], 1):.2%}{items}, at 95 % confidence"]


def _rounded(error: float | None) -> float | None:
    return None if error is None else round(error, 6)
