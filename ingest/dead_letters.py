"""Undecodable datagrams, kept with their octets, exporter, time and reason for a second look.

In: datagrams and what was wrong with them. Out: the same from a bounded store in the data folder (a spool that drops its oldest).
Keeping them never stops the line: a store that cannot be written is counted. Refuses to know why something is undecodable.
"""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.errors import BusError, InputError
from common.logs import Limited
from ingest.decoder import Datagram
from ingest.problems import Problem, Reason

FOLDER: Final = "dead-letters"
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
_HEAD: Final = struct.Struct(">16sqqBHH")  # exporter, received_ms, session, partly, octets of reason, octets of text
_READ_BYTES: Final = 4 << 20
_SEGMENTS: Final = 8
_log = Limited(logging.getLogger(__name__))


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


class DeadLetterStore:
    """The writing end. `kept` and `failed` only rise."""

    def __init__(self, data_dir: Path, limit_bytes: int) -> None:
        segment = max(1 << 16, limit_bytes // _SEGMENTS)
        self._spool = SpoolProducer(
            data_dir / FOLDER, 1, SpoolLimits(max(limit_bytes, 2 * segment), segment, "drop_oldest", fsync=False)
        )
        self._unflushed = False
        self.kept = 0
        self.failed = 0

    def put(self, datagram: Datagram, problem: Problem, partly: bool) -> None:
        """Keep one datagram."""
        try:
            self._spool.send(0, pack_letter(datagram, problem.reason.value, problem.text, partly))
            self.kept += 1
            self._unflushed = True
        except BusError as error:
            self._note(error)

    def flush(self) -> None:
        """Make what was kept visible to readers; cheap when there is nothing."""
        if not self._unflushed:
            return
        self._unflushed = False
        try:
            self._spool.flush(1.0)
        except BusError as error:
            self._note(error)

    def close(self) -> None:
        """Let go of the files."""
        try:
            self._spool.close()
        except BusError as error:
            self._note(error)

    def _note(self, error: BusError) -> None:
        self.failed += 1
        _log.warning("dead letters", f"dead letters cannot be kept: {error}")


def forget_letters(data_dir: Path, below: int) -> None:
    """Let go of the letters with smaller numbers, as far as the store's segments allow."""
    source = SpoolSource(data_dir / FOLDER, 1)
    try:
        source.release(0, below)
    finally:
        source.close()


def read_letters(data_dir: Path) -> Iterator[DeadLetter]:
    """All letters, oldest first; none when there is no store. Raises BusError when it cannot be read."""
    if not (data_dir / FOLDER).is_dir():
        return
    source = SpoolSource(data_dir / FOLDER, 1)
    try:
        offset = source.begin(0)
        while entries := source.read(0, offset, _READ_BYTES):
            for entry in entries:
                yield unpack_letter(entry.offset, entry.value)
            offset = entries[-1].offset + 1
    finally:
        source.close()
