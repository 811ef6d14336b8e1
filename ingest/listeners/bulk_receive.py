"""Many datagrams per system call: recvmmsg(2), which Python's socket module lacks, and the plain loop where the system lacks it.

In: a non-blocking UDP socket's descriptor. Out: the source addresses as the kernel wrote them and the payloads. The interpreter
lock is let go once per call instead of once per datagram; with a busy decoding thread that decides whether a receiving thread
keeps up at all. Refuses to know what the datagrams are.
"""

import ctypes
import errno
import mmap
import socket
import sys
from typing import Final, Protocol

import numpy as np

SLOTS: Final = 512
_SLOT_BYTES: Final = 1 << 16  # no UDP payload is longer, so nothing is ever cut off
_NAME_BYTES: Final = 32
_SOCKADDR_IN6: Final = 28
_DONTWAIT: Final = 0x40  # MSG_DONTWAIT of Linux
_EMPTY: Final = frozenset({errno.EAGAIN, errno.EINTR})

Taken = tuple[list[bytes], list[bytes]]
"""Sources (4 or 16 bytes, network order) and payloads, side by side."""


class BulkReceiver(Protocol):
    """Takes what one socket holds now, up to SLOTS datagrams; empty when it holds none."""

    def receive(self, udp: socket.socket) -> Taken:
        """Sources and payloads; raises OSError as recv(2) does."""


class _IoVector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Slot(ctypes.Structure):
    _fields_ = [("header", _Header), ("length", ctypes.c_uint)]


class ManyAtOnce:
    """recvmmsg into slots that are used again; one instance per thread. Pages that no datagram touched cost no memory."""

    def __init__(self, call: "ctypes._NamedFuncPointer") -> None:
        self._call = call
        self._payloads = mmap.mmap(-1, SLOTS * _SLOT_BYTES)
        self._names = mmap.mmap(-1, SLOTS * _NAME_BYTES)
        self._vectors = (_IoVector * SLOTS)()
        self._slots = (_Slot * SLOTS)()
        payloads = ctypes.addressof(ctypes.c_char.from_buffer(self._payloads))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        for index, slot in enumerate(self._slots):
            self._vectors[index] = _IoVector(payloads + index * _SLOT_BYTES, _SLOT_BYTES)
            slot.header.name = names + index * _NAME_BYTES
            slot.header.vectors = ctypes.pointer(self._vectors[index])
            slot.header.vector_count = 1
        words = np.frombuffer(memoryview(self._slots).cast("B"), dtype=np.uint32).reshape(SLOTS, -1)
        self._lengths = words[:, _Slot.length.offset // 4]
        self._name_lengths = words[:, _Header.name_length.offset // 4]

    def receive(self, udp: socket.socket) -> Taken:
        """One call; the kernel has written the last family's address lengths over the room there is, hence the reset."""
        self._name_lengths[:] = _SOCKADDR_IN6
        count: int = self._call(udp.fileno(), self._slots, SLOTS, _DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in _EMPTY:
                return [], []
            raise OSError(code, "recvmmsg")
        start, stop = (4, 8) if udp.family == socket.AF_INET else (8, 24)
        names, payloads = self._names, self._payloads
        sources = [names[at + start : at + stop] for at in range(0, count * _NAME_BYTES, _NAME_BYTES)]
        ends = zip(range(0, count * _SLOT_BYTES, _SLOT_BYTES), self._lengths[:count].tolist(), strict=True)
        return sources, [payloads[at : at + length] for at, length in ends]


class OneByOne:
    """The plain loop, for systems without recvmmsg."""

    def receive(self, udp: socket.socket) -> Taken:
        """As many as there are, each by its own call."""
        sources: list[bytes] = []
        payloads: list[bytes] = []
        for _ in range(SLOTS):
            try:
                payload, address = udp.recvfrom(_SLOT_BYTES)
            except BlockingIOError:
                break
            sources.append(socket.inet_pton(udp.family, address[0].partition("%")[0]))
            payloads.append(payload)
        return sources, payloads


def bulk_receiver() -> BulkReceiver:
    """The fastest that this system has."""
    if sys.platform == "linux":
        call = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
        if call is not None:
            return ManyAtOnce(call)
    return OneByOne()
