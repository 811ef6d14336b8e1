"""What the service shows and keeps of the traffic that passes: the board of exporters, dead letters, and taps.

In: what the line lets it see. Out: rows, letters and text, elsewhere. All of it is bounded, and none of it can fail the line.
"""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from ingest.board import ExporterBoard
from ingest.dead_letters import UNDECODABLE, Letterbox, pack_letter
from ingest.decoder import Datagram
from ingest.line import Reports
from ingest.problems import Problem

Tap = Callable[[pa.RecordBatch], None]
Apply = Callable[[pa.RecordBatch], pa.RecordBatch]


class Observation:
    """The observer of a live line. `letters` may be missing; taps see flows as `apply` leaves them: as in batches."""

    def __init__(
        self,
        board: ExporterBoard,
        letters: Letterbox | None = None,
        taps: Sequence[Tap] = (),
        apply: Apply = lambda flows: flows,
    ) -> None:
        self._apply = apply
        self.board = board
        self.letters = letters
        self._taps = tuple(taps)

    def faulty(self, datagram: Datagram, problems: Sequence[Problem], flows: int) -> None:
        """Remember the error; keep the datagram if a part of it was not decoded for good."""
        self.board.note_error(datagram.exporter, f"{problems[0].reason.value}: {problems[0].text}")
        if self.letters is None:
            return
        undecodable = [problem for problem in problems if problem.reason in UNDECODABLE and problem.exporter == datagram.exporter]
        if undecodable:
            first = undecodable[-1]
            self.letters.put(pack_letter(datagram, first.reason.value, first.text, flows > 0))

    def found(self, problems: Sequence[Problem]) -> None:
        """Remember the error of each exporter; which datagram it was in is not known any longer."""
        for problem in reversed(problems):
            self.board.note_error(problem.exporter, f"{problem.reason.value}: {problem.text}")

    def drained(self, flows: Mapping[int, pa.RecordBatch]) -> None:
        """Show the flows to the taps."""
        for lane in sorted(flows) if self._taps else ():
            shown = self._apply(flows[lane])
            for tap in self._taps:
                tap(shown)

    def reported(self, reports: Reports, now_ms: int) -> None:
        """Bring the board up to date; what was kept becomes readable."""
        self.board.take(reports, now_ms)
        if self.letters is not None:
            self.letters.flush()
