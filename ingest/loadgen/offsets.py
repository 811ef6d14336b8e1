"""The clock correction that a conforming collector has in force for each exporter (docs/explanation/numbers.md section 10).

In: receive and export time of each datagram, in the order of arrival. Out: milliseconds to add to the exporter's times.
"""

from dataclasses import dataclass
from typing import Final

_MINUTE_MS: Final = 60_000
_LEAST_CORRECTION_MS: Final = 5_000
_LEAST_CHANGE_MS: Final = 2_000


@dataclass(slots=True)
class ClockOffset:
    """State of one exporter at one collector."""

    estimate_ms: int
    minute: int
    least_ms: int

    @classmethod
    def first(cls, received_ms: int, exported_ms: int) -> "ClockOffset":
        """The first datagram sets the first estimate."""
        seen = _floor_seconds(received_ms - exported_ms)
        return cls(seen, received_ms // _MINUTE_MS, received_ms - exported_ms)

    def see(self, received_ms: int, exported_ms: int) -> None:
        """A datagram; the first one of a later minute may change the estimate to the least of the minute before."""
        minute, offset = received_ms // _MINUTE_MS, received_ms - exported_ms
        if minute <= self.minute:
            self.least_ms = min(self.least_ms, offset)
            return
        before = _floor_seconds(self.least_ms)
        if abs(before - self.estimate_ms) >= _LEAST_CHANGE_MS:
            self.estimate_ms = before
        self.minute, self.least_ms = minute, offset

    @property
    def correction_ms(self) -> int:
        """What is added to the exporter's times."""
        return self.estimate_ms if abs(self.estimate_ms) >= _LEAST_CORRECTION_MS else 0


def _floor_seconds(milliseconds: int) -> int:
    return milliseconds // 1000 * 1000
