"""One export packet as it reaches the decoder."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Datagram:
    """One export packet. `session` is 0 for UDP (the source port is no part of any scope), a connection's number for TCP."""

    exporter: bytes
    received_ms: int
    payload: bytes | memoryview
    session: int = 0
