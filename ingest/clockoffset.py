"""How far an exporter's clock is from ours (docs/explanation/numbers.md section 10).

In: receive and export time of each datagram. Out: the correction in force, in milliseconds, to be added to the exporter's times.
Refuses to know any clock.
"""

from dataclasses import dataclass
from typing import Final

_MINUTE_MS: Final = 60_000
_TRUSTED_MS: Final = 5_000
_HYSTERESIS_MS: Final = 2_000


@dataclass(slots=True)
class ClockOffset:
    """Estimate of one exporter; `minute` is -1 before its first datagram."""

    minute: int = -1
    least: int = 0
    estimate: int = 0

    def observe(self, received_ms: int, exported_ms: int) -> int:
        """Take one datagram into account; the correction that holds for it."""
        difference = (received_ms - exported_ms) // 1000 * 1000
        minute = received_ms // _MINUTE_MS
        if self.minute < 0:
            self.minute, self.least, self.estimate = minute, difference, difference
        elif minute > self.minute:
            if abs(self.least - self.estimate) >= _HYSTERESIS_MS:
                self.estimate = self.least
            self.minute, self.least = minute, difference
        elif difference < self.least:
            self.least = difference
        return self.correction

    @property
    def correction(self) -> int:
        """The correction in force: 0 while the exporter's clock is near ours."""
        return self.estimate if abs(self.estimate) >= _TRUSTED_MS else 0
