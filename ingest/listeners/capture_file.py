"""The two capture file formats: frames with their time, link type and whether they were cut.

In: a file in pcap (all byte orders, micro- and nanoseconds, the modified kind) or pcapng (any number of sections and interfaces).
Out: frames in file order. Formats by draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. A file that ends in the middle of a
frame gives what it has, then says so. Refuses to know what the frames hold.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from common.errors import InputError

_PCAP: Final = {  # magic, read in little endian -> (byte order, fractions of a second per millisecond, octets of a frame header)
    0xA1B2C3D4: ("<", 1_000, 16),
    0xD4C3B2A1: (">", 1_000, 16),
    0xA1B23C4D: ("<", 1_000_000, 16),
    0x4D3CB2A1: (">", 1_000_000, 16),
    0xA1B2CD34: ("<", 1_000, 24),
    0x34CDB2A1: (">", 1_000, 24),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER: Final = {0x1A2B3C4D: "<", 0x4D3C2B1A: ">"}  # read in little endian
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14  # options of an interface
_LONGEST: Final = 16 << 20  # a length beyond this is a damaged file, not a frame


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame; `cut` says that the capture kept only its beginning."""

    time_ms: int
    link_type: int
    octets: bytes
    cut: bool


class CutOffError(InputError):
    """The file ends, or is damaged, in the middle; everything before that was given."""


def frames_of(path: Path) -> Iterator[Frame]:
    """All frames of a capture; raises InputError for what is no capture, CutOffError at the place where it ends too early."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if not magic:
                raise InputError(f"{path}: empty file, not a capture")
            number = int.from_bytes(magic, "little")
            if number in _PCAP:
                yield from _read_pcap(path, file, *_PCAP[number])
            elif number == _SECTION:
                yield from _read_pcapng(path, file)
            else:
                raise InputError(f"{path}: not a pcap or pcapng file (it begins with {magic.hex()})")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _read_pcap(path: Path, file: BufferedReader, order: str, per_ms: int, header_octets: int) -> Iterator[Frame]:
    head = file.read(20)
    if len(head) < 20:
        raise InputError(f"{path}: not a pcap file: its header is cut off")
    link_type = struct.unpack_from(order + "I", head, 16)[0] & 0xFFFF  # the upper bits say whether frames carry a checksum
    frame_header = struct.Struct(order + "IIII")
    while header := file.read(header_octets):
        if len(header) < header_octets:
            raise _cut_off(path, file)
        seconds, fraction, kept, length = frame_header.unpack_from(header)
        yield Frame(seconds * 1000 + fraction // per_ms, link_type, _read(path, file, kept), kept < length)


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_length: int
    ticks_per_s: int = 1_000_000
    offset_s: int = 0

    def frame(self, ticks: int, octets: bytes, length: int) -> Frame:
        return Frame(self.offset_s * 1000 + ticks * 1000 // self.ticks_per_s, self.link_type, octets, len(octets) < length)


def _read_pcapng(path: Path, file: BufferedReader) -> Iterator[Frame]:
    file.seek(0)
    order = "<"
    interfaces: list[_Interface] = []
    while head := file.read(8):
        if len(head) < 8:
            raise _cut_off(path, file)
        kind = int.from_bytes(head[:4], "little")
        if kind == _SECTION:  # reads the same in both byte orders
            order = _section_order(path, file)
            interfaces = []
        kind, length = struct.unpack(order + "II", head)
        if length < 12:
            raise _cut_off(path, file)
        body = _read(path, file, length - 8)[:-4]
        try:
            if kind == _INTERFACE:
                interfaces.append(_interface(order, body))
            elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
                yield _packet(order, kind, body, interfaces)
        except (struct.error, IndexError) as error:
            raise CutOffError(f"{path}: damaged block before octet {file.tell()}") from error


def _section_order(path: Path, file: BufferedReader) -> str:
    mark = file.read(4)
    file.seek(-len(mark), 1)
    order = _BYTE_ORDER.get(int.from_bytes(mark, "little"))
    if order is None:
        raise InputError(f"{path}: not a pcapng file: no byte order at octet {file.tell()}")
    return order


def _interface(order: str, body: bytes) -> _Interface:
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    ticks_per_s, offset_s = 1_000_000, 0
    at = 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == _TIME_RESOLUTION:
            exponent = body[at + 4]
            ticks_per_s = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
        elif code == _TIME_OFFSET:
            (offset_s,) = struct.unpack_from(order + "q", body, at + 4)
        elif code == 0:
            break
        at += 4 + (length + 3) // 4 * 4
    return _Interface(link_type, snap_length, ticks_per_s, offset_s)


def _packet(order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> Frame:
    if kind == _SIMPLE_PACKET:
        (length,) = struct.unpack_from(order + "I", body)
        kept = min(length, interfaces[0].snap_length or length)
        return interfaces[0].frame(0, body[4 : 4 + kept], length)
    layout = "IIIII" if kind == _PACKET else "HxxIIII"  # the old block counts drops where the new one has a wider number
    number, high, low, kept, length = struct.unpack_from(order + layout, body)
    interface: _Interface = interfaces[number]
    return interface.frame(high << 32 | low, body[20 : 20 + kept], length)


def _read(path: Path, file: BufferedReader, octets: int) -> bytes:
    if octets > _LONGEST:
        raise CutOffError(f"{path}: damaged at octet {file.tell()}: a frame of {octets} octets")
    body = file.read(octets)
    if len(body) < octets:
        raise _cut_off(path, file)
    return body


def _cut_off(path: Path, file: BufferedReader) -> CutOffError:
    return CutOffError(f"{path}: the file ends in the middle of a frame, at octet {file.tell()}")
