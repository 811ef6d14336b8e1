"""Which subtask Flink gives a key to, so that a job's few elements can be made to spread evenly.

In: an encoded key. Out: the number of the subtask. A splittable DoFn is keyed by its element and a stateful one by its
key, both as Flink sees them: bytes, and whatever Java has no coder for, with their length before them; ints (VarInt)
without. The hashes are those of java.nio.ByteBuffer and of Flink's key groups; tests/flink holds placements that were
seen on a cluster.
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


def salt_for(subtask: int, element: Callable[[int], bytes], parallelism: int) -> int:
    """The least salt for which the bytes `element(salt)` go to `subtask`; takes about `parallelism` tries."""
    return next(salt for salt in count() if subtask_of(length_prefixed(element(salt)), parallelism) == subtask)


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
