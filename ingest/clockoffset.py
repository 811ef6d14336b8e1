"""How far an exporter's clock is from ours (docs/explanation/numbers.md section 10).

In: receive and export time of each datagram. Out: the correction in force, in milliseconds, to be added to the exporter's times.
Refuses to know any clock.
"""

from dataclasses import dataclass
from typing import Final

MINUTE_MS: Final = 60_000
_TRUSTED_MS: Final = 5_000
_HYSTERESIS_MS: Final = 2_000


@dataclass(slots=True)
class ClockOffset:
    """Estimate of one exporter, and the correction in force: 0 while its clock is near ours; `minute` is -1 before all."""

    minute: int = -1
    least: int = 0
    estimate: int = 0
    correction: int = 0

    def observe(self, received_ms: int, exported_ms: int) -> int:
        """Take one datagram into account; the correction that holds for it."""
        difference = (received_ms - exported_ms) // 1000 * 1000
        minute = received_ms // MINUTE_MS
        if self.minute < 0:
            self.minute, self.least = minute, difference
            self._set(difference)
        elif minute > self.minute:
            if abs(self.least - self.estimate) >= _HYSTERESIS_MS:
                self._set(self.least)
            self.minute, self.least = minute, difference
        elif difference < self.least:
            self.least = difference
        return self.correction

    def observe_many(self, last_minute: int, least: int) -> bool:
        """Take datagrams none of which is of a later minute than the last one into account, by their least difference.

        False, and nothing done, if one of them is.
        """
        if last_minute > self.minute:
            return False
        self.least = min(self.least, least)
        return True

    def _set(self, estimate: int) -> None:
        self.estimate = estimate
        self.correction = estimate if abs(estimate) >= _TRUSTED_MS else 0
