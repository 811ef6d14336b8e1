"""From the receiving threads to the decoding one: chunks of datagrams through a queue that is bounded in octets.

In: what one receive call took. Out: the same chunks, in order. A chunk that does not fit is refused whole; the receiver counts
it. Refuses to know sockets and decoding.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

_DATAGRAM_OVERHEAD: Final = 128  # Python's own octets for a payload and its place in the lists


@dataclass(frozen=True, slots=True)
class Chunk:
    """Datagrams that were taken together: canonical 16-byte sources and payloads, side by side.

    `session` is the transport connection that they came on, 0 for UDP; `ended` says that nothing follows on it.
    """

    received_ms: int
    exporters: list[bytes]
    payloads: list[bytes]
    session: int = 0
    ended: bool = False

    @property
    def octets(self) -> int:
        """What the chunk costs in memory."""
        return sum(map(len, self.payloads)) + _DATAGRAM_OVERHEAD * len(self.payloads)


class ChunkQueue:
    """Bounded hand-over between threads; many may put, one takes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._chunks: deque[Chunk] = deque()
        self._octets = 0
        self._wanted = 0
        self._ready = threading.Condition()

    @property
    def octets(self) -> int:
        """Memory in use."""
        return self._octets

    def put(self, chunk: Chunk) -> bool:
        """Take the chunk, or refuse it (False) because it would go beyond the limit."""
        octets = chunk.octets
        with self._ready:
            if self._octets + octets > self._limit:
                return False
            self._chunks.append(chunk)
            self._octets += octets
            if self._octets >= self._wanted:
                self._ready.notify()
            return True

    def take(self, timeout_s: float, enough_bytes: int = 1, most_bytes: int | None = None) -> list[Chunk]:
        """What there is, once it is `enough_bytes` or the time is up; a lone datagram does not wake the decoder.

        Stops after the chunk that reaches `most_bytes`: what is taken has left the queue's bound, and nothing else bounds it.
        """
        with self._ready:
            self._wanted = enough_bytes
            self._ready.wait_for(lambda: self._octets >= self._wanted, timeout_s)
            chunks: list[Chunk] = []
            taken = 0
            while self._chunks and (most_bytes is None or taken < most_bytes):
                chunks.append(self._chunks.popleft())
                taken += chunks[-1].octets
            self._octets -= taken
            return chunks

    def wake(self) -> None:
        """Let the taker return now: the service is stopping."""
        with self._ready:
            self._wanted = 0
            self._ready.notify()
