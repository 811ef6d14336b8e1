"""Arrays to bytes and back: how parts and bases cross stages and sit in state.

In: a list of arrays of integers that are not negative. Out: one self-contained string of bytes in which each array takes the
least of 0, 1, 2, 4 or 8 octets an element (0 where all are zero), and views of the arrays from it. Refuses to know what they mean.

    "<4sHH"  magic, version, number of arrays
    "<II"    per array: width, elements
    data     per array: little-endian elements, padded to 8 octets
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from columns.arrays import Ints
from common.errors import InputError

VERSION: Final = 2
_HEAD: Final = struct.Struct("<4sHH")
_WIDTHS: Final[dict[int, np.dtype[Any]]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}

Numbers = npt.NDArray[Any]


def pack_arrays(magic: bytes, arrays: Sequence[Numbers]) -> bytes:
    """The arrays as bytes; elements must not be negative."""
    directory = np.empty((len(arrays), 2), "<u4")
    pieces: list[bytes] = []
    for entry, array in zip(directory, arrays, strict=True):
        width = _width(array)
        entry[:] = width, len(array)
        if width:
            octets = array.astype(_WIDTHS[width]).tobytes()
            pieces += octets, bytes(-len(octets) % 8)
    return b"".join((_HEAD.pack(magic, VERSION, len(arrays)), directory.tobytes(), *pieces))


def unpack_arrays(magic: bytes, data: bytes) -> list[Numbers]:
    """Views into `data` of what `pack_arrays` took; raises InputError for bytes of something else or of another version."""
    try:
        return _unpack(magic, data)
    except (struct.error, KeyError, ValueError) as error:
        raise InputError(f"{magic.decode()}: truncated or damaged state: {error}") from error


def _unpack(magic: bytes, data: bytes) -> list[Numbers]:
    found, version, count = _HEAD.unpack_from(data)
    if (found, version) != (magic, VERSION):
        raise InputError(f"{magic.decode()}: state is {found!r} version {version}, this program reads version {VERSION}")
    directory = np.frombuffer(data, "<u4", 2 * count, _HEAD.size).reshape(-1, 2).tolist()
    offset = _HEAD.size + 8 * count
    arrays: list[Numbers] = []
    for width, elements in directory:
        arrays.append(np.frombuffer(data, _WIDTHS[width], elements, offset) if width else np.zeros(elements, np.uint8))
        offset += -(-width * elements // 8) * 8
    return arrays


def pack_texts(texts: Sequence[str]) -> list[Numbers]:
    """Texts as two arrays, octets and lengths."""
    octets = [text.encode() for text in texts]
    return [np.frombuffer(b"".join(octets), np.uint8), np.array([len(each) for each in octets], np.int64)]


def unpack_texts(octets: Numbers, lengths: Numbers) -> tuple[str, ...]:
    """What `pack_texts` took."""
    data, ends = octets.tobytes(), np.cumsum(lengths, dtype=np.int64).tolist()
    return tuple(data[start:end].decode() for start, end in zip([0, *ends], ends, strict=False))


def widen(array: Numbers) -> Ints:
    """The array as signed 64-bit integers."""
    return array.astype(np.int64)


def _width(array: Numbers) -> int:
    largest = int(array.max(initial=0))
    if largest < 1 << 16:
        return 0 if not largest else 1 if largest < 1 << 8 else 2
    return 4 if largest < 1 << 32 else 8
