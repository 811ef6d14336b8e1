"""Which subtask Flink gives a key to, so that a job's few elements can be made to spread evenly.

In: an encoded key. Out: its key group and the number of the subtask; salts that move an element to where it is wanted. A
splittable DoFn is keyed by its element and a stateful one by its key, both as Flink sees them: bytes, and whatever Java has no
coder for, with their length before them; ints (VarInt) without. The hashes are those of java.nio.ByteBuffer and of Flink's key
groups; tests/flink holds placements that were seen on a cluster.
"""

from collections.abc import Callable
from itertools import count
from typing import Final

MAX_PARALLELISM: Final = 128
"""The number of key groups: part of every savepoint, and of where a key lands; never change it."""

_MASK: Final = 0xFFFFFFFF


def subtask_of(key: bytes, parallelism: int, max_parallelism: int = MAX_PARALLELISM) -> int:
    """The subtask in [0, `parallelism`) that an encoded key goes to."""
    return key_group(key, max_parallelism) * parallelism // max_parallelism


def key_group(key: bytes, max_parallelism: int = MAX_PARALLELISM) -> int:
    """Flink's key group of an encoded key: what a savepoint divides its state by."""
    return _murmur(_buffer_hash(key)) % max_parallelism


def length_prefixed(data: bytes) -> bytes:
    """`data` as Beam nests bytes: their length as a varint, then themselves."""
    size, prefix = len(data), bytearray()
    while size >= 0x80:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*prefix, size)) + data


def salt_into(group: int, element: Callable[[int], bytes]) -> int:
    """The least salt for which the bytes `element(salt)` belong to key group `group`; takes about 128 tries."""
    return next(salt for salt in count() if key_group(length_prefixed(element(salt))) == group)


def spread_group(number: int) -> int:
    """The key group of the `number`th of some elements, so that any parallelism deals them out evenly.

    Groups are dealt to subtasks in equal ranges, and reversed bits go to the middle of the widest range that is still empty: 0, 64,
    32, 96, 16, ... A job can so be taken up with another parallelism: its elements keep the keys that they had in the savepoint.
    """
    bits = MAX_PARALLELISM.bit_length() - 1
    return int(f"{number % MAX_PARALLELISM:0{bits}b}"[::-1], 2)


def _signed(number: int) -> int:
    number &= _MASK
    return number - (1 << 32) if number >> 31 else number


def _buffer_hash(key: bytes) -> int:
    code = 1
    for octet in reversed(key):
        code = _signed(31 * code + (octet - 256 if octet > 127 else octet))
    return code


def _rotated(number: int, by: int) -> int:
    return (number << by | number >> (32 - by)) & _MASK


def _murmur(code: int) -> int:
    mixed = _rotated(_rotated(code * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK, 13)
    mixed = (mixed * 5 + 0xE6546B64 & _MASK) ^ 4
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & _MASK
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & _MASK
    signed = _signed(mixed ^ mixed >> 16)
    return 0 if signed == -(1 << 31) else abs(signed)
