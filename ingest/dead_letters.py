"""Undecodable datagrams, kept with their octets, exporter, time and reason for a second look.

In: datagrams and what was wrong with them. Out: entries of a bounded store, and the letters of entries. Where the store is
(`letter_spool`, `letter_topic`) is a matter of the settings; keeping letters never stops the line, what cannot be kept is counted.
Refuses to know why something is undecodable.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from bus.contract import Source
from common.errors import InputError
from ingest.decoder import Datagram
from ingest.problems import Reason

UNDECODABLE: Final = frozenset(
    {
        Reason.UNKNOWN_PROTOCOL,
        Reason.TRUNCATED_HEADER,
        Reason.LENGTH_MISMATCH,
        Reason.SET_LENGTH,
        Reason.TEMPLATE_MALFORMED,
        Reason.RECORD_TRUNCATED,
        Reason.SAMPLE_MALFORMED,
        Reason.PARKED_REFUSED,
    }
)
"""Reasons that cost octets which a better decoder, or another setting, might still read."""
_READ_BYTES: Final = 4 << 20
_HEAD: Final = struct.Struct(">16sqqBHH")  # exporter, received_ms, session, partly, octets of reason, octets of text


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One datagram and what was wrong with it first; `number` is its place in the store.

    `partly`: some of its flows were decoded; to decode it again doubles them.
    """

    number: int
    datagram: Datagram
    reason: str
    text: str
    partly: bool


def pack_letter(datagram: Datagram, reason: str, text: str, partly: bool) -> bytes:
    """One entry of the store."""
    head, tail = reason.encode(), text.encode()
    fixed = _HEAD.pack(datagram.exporter, datagram.received_ms, datagram.session, partly, len(head), len(tail))
    return b"".join((fixed, head, tail, datagram.payload))


def unpack_letter(number: int, entry: bytes) -> DeadLetter:
    """The letter of an entry; raises InputError for what is none."""
    try:
        exporter, received_ms, session, partly, reason, text = _HEAD.unpack_from(entry)
        places = (_HEAD.size, _HEAD.size + reason, _HEAD.size + reason + text)
        payload = entry[places[2] :]
        words = (entry[places[0] : places[1]].decode(), entry[places[1] : places[2]].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise InputError(f"dead letter {number}: not one of this version: {error}") from error
    return DeadLetter(number, Datagram(exporter, received_ms, payload, session), *words, bool(partly))


def letters_of(source: Source, offset: int) -> Iterator[DeadLetter]:
    """The letters of a bus of one partition from `offset` on; raises what the source raises, InputError for what is no letter."""
    while entries := source.read(0, offset, _READ_BYTES):
        for entry in entries:
            yield unpack_letter(entry.offset, entry.value)
        offset = entries[-1].offset + 1


class Letterbox(Protocol):
    """The writing end. `given`, `kept` and `failed` only rise."""

    given: int
    kept: int
    failed: int

    def put(self, entry: bytes) -> None:
        """Keep one entry; never waits."""

    def flush(self) -> None:
        """Make what was kept visible to readers soon; never waits for long, and is cheap when there is nothing."""

    def close(self) -> None:
        """Keep what can still be kept, and let go."""


class Letters(Protocol):
    """A bounded store of letters, numbered in order."""

    def open(self) -> Letterbox:
        """The writing end."""

    def read(self) -> Iterator[DeadLetter]:
        """All letters, oldest first; none when there is no store. Raises BusError when it cannot be read."""

    def forget(self, below: int) -> None:
        """Let go of the letters with smaller numbers. Raises BusError."""
