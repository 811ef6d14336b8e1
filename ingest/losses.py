"""Datagrams that never reached the decoder, laid on the exporters' reports.

In: drops whose exporter is known (our queue) and drops that the kernel counts per socket only. Out: the same reports with
`socket_drops`. The kernel does not say whose datagrams it dropped; they are shared out by the datagrams that did arrive, exactly.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flowpb.flow_batch_pb2 import ExporterReport

_KNOWN_LIMIT: Final = 1 << 14  # exporters that lost everything never have a report; spoofed ones must not pile up


@dataclass(slots=True)
class Losses:
    """What was dropped since it was last reported: `known` by exporter, `unknown` by the kernel."""

    known: Counter[bytes] = field(default_factory=Counter)
    unknown: int = 0

    def settle(self, reports: Mapping[int, Iterable[ExporterReport]]) -> None:
        """Write the losses into the reports and forget them; what no report can carry waits for a later one."""
        listed = [report for lane in reports.values() for report in lane]
        shares = share_out(self.unknown, [report.datagrams for report in listed])
        for report, share in zip(listed, shares, strict=True):
            report.socket_drops += self.known.pop(report.exporter, 0) + share
        self.unknown -= sum(shares)
        if len(self.known) > _KNOWN_LIMIT:
            self.unknown += self.known.total()
            self.known.clear()


def share_out(amount: int, weights: list[int]) -> list[int]:
    """`amount` in whole parts proportional to `weights`, adding up exactly; all 0 when there is no weight."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    passed = 0
    parts = []
    for weight in weights:
        before = amount * passed // total
        passed += weight
        parts.append(amount * passed // total - before)
    return parts
