"""Captures of export traffic: the datagrams that a collector would have received, at their capture time.

In: a pcap or pcapng file. Out: Datagrams in file order, and a count of every frame that gave none, by reason. The same decoder
takes them as takes those from sockets.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from common.errors import InputError
from ingest.decoder import Datagram
from ingest.listeners.capture_file import CutOffError, frames_of
from ingest.listeners.frames import FrameReader, Skipped

CUT_OFF = "capture_cut_off"
SUFFIXES = (".pcap", ".pcapng", ".cap")


class Capture:
    """One capture file. `skipped` counts frames without a datagram, `damage` says where the file ends too early."""

    def __init__(self, path: Path, ports: Collection[int] = ()) -> None:
        self._path = path
        self._ports = frozenset(ports)
        self.skipped: Counter[str] = Counter()
        self.frames = 0
        self.damage = ""

    def datagrams(self) -> Iterator[Datagram]:
        """Every UDP datagram (to one of `ports`, if there are any); raises InputError when the file is no capture."""
        reader = FrameReader()
        try:
            for frame in frames_of(self._path):
                self.frames += 1
                found = reader.read(frame.link_type, frame.octets, frame.cut)
                if isinstance(found, Skipped):
                    self.skipped[found] += 1
                elif self._ports and found.destination_port not in self._ports:
                    self.skipped[Skipped.NOT_UDP] += 1
                else:
                    yield Datagram(found.source, frame.time_ms, found.payload)
        except CutOffError as error:
            self.skipped[CUT_OFF] += 1
            self.damage = str(error)
        lost = reader.lost + reader.unfinished
        if lost:
            self.skipped[Skipped.FRAGMENT_LOST] += lost

    def problems(self) -> dict[str, int]:
        """The counts that mean loss, without frames that are simply not UDP."""
        return {reason: count for reason, count in sorted(self.skipped.items()) if reason not in _ORDINARY}


_ORDINARY = frozenset({Skipped.NOT_UDP, Skipped.FRAGMENT})


def captures_of(path: Path) -> list[Path]:
    """The file itself, or the captures of a folder in the order of their names; raises InputError when there is none."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
    if not found:
        raise InputError(f"{path}: a folder without a capture (.pcap, .pcapng, .cap)")
    return found
