"""Delivery of points with patience: what to do while the receiver is away, and a bound for the number of series.

In: points, and a way to send them. Out: counts of what became of them. With `wait` a failure is the caller's: it sends the same
points again later. With `drop` points wait in a bounded buffer, the oldest go first, and tries are spaced out. Refuses to know
protocols and threads.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, Literal, Protocol

from common.errors import OutletError
from stores.series.points import Point, Series

WhenAway = Literal["wait", "drop"]
_DELAY_S: Final = (1.0, 60.0)


class Transport(Protocol):
    """One protocol to one receiver."""

    def send(self, points: Sequence[Point]) -> int:
        """All points; how many were refused for good. Raises OutletError."""

    def close(self) -> None:
        """Let go."""


class Outlet:
    """`most_points` wait at most, and `most_series` are told apart; points of further series are not sent. Not thread-safe."""

    def __init__(
        self,
        transport: Transport,
        when_away: WhenAway = "drop",
        most_points: int = 100_000,
        most_series: int = 100_000,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._when_away = when_away
        self._waiting: deque[Point] = deque()
        self._most_points, self._most_series = most_points, most_series
        self._known: set[Series] = set()
        self._clock_s = clock_s
        self._delay_s = _DELAY_S[0]
        self._next_s = 0.0
        self.totals: Counter[str] = Counter()
        self.fault = ""

    def deliver(self, points: Iterable[Point]) -> None:
        """Take points and send what waits; raises OutletError with `wait`, and then has taken nothing."""
        fresh = [point for point in points if self._is_known(point.series)]
        if self._when_away == "wait":
            self._send(fresh)
            return
        self._waiting.extend(fresh)
        if self._clock_s() >= self._next_s:
            self._try()
        surplus = max(0, len(self._waiting) - self._most_points)
        self.totals["dropped"] += surplus
        for _ in range(surplus):
            self._waiting.popleft()

    def close(self) -> None:
        """One last try for what waits."""
        if self._waiting:
            self._try()
            self.totals["dropped"] += len(self._waiting)
        self._transport.close()

    def _try(self) -> None:
        try:
            while self._waiting:
                chunk = list(islice(self._waiting, 10_000))
                self._send(chunk)
                for _ in chunk:
                    self._waiting.popleft()
        except OutletError as error:
            self.fault = str(error)
            self._next_s = self._clock_s() + self._delay_s
            self._delay_s = min(self._delay_s * 2, _DELAY_S[1])
        else:
            self.fault, self._delay_s = "", _DELAY_S[0]

    def _send(self, points: Sequence[Point]) -> None:
        if points:
            refused = self._transport.send(points)
            self.totals["refused"] += refused
            self.totals["sent"] += len(points) - refused

    def _is_known(self, series: Series) -> bool:
        if series in self._known:
            return True
        if len(self._known) >= self._most_series:
            self.totals["over_limit"] += 1
            return False
        self._known.add(series)
        return True
