"""One port for several processes: a group of sockets, and who gets which exporter.

In: a listener and the number of processes. Out: as many sockets on one port; the kernel gives each source address to always the
same one (a classic BPF program on the reuseport group), since templates and sequence numbers of an exporter belong together. The
sockets are opened once, by the parent, so that the group never changes while single processes come and go.
"""

import ctypes
import socket
import struct
from typing import Final

from common.config import Listener
from common.errors import ConfigError
from ingest.listeners.udp import open_socket

_SO_ATTACH_REUSEPORT_CBPF: Final = 51  # Linux 4.5
_NET: Final = 0xFFF00000  # SKF_NET_OFF: offsets from here on count from the network header
_LD_W, _LD_B, _TAX, _XOR_X = 0x20, 0x30, 0x07, 0xAC
_RSH_K, _MUL_K, _MOD_K, _JEQ_K, _RET_A = 0x74, 0x24, 0x94, 0x15, 0x16
_MIX: Final = 0x9E3779B1  # 2^32 / golden ratio: neighbouring addresses spread over all processes
_INSTRUCTION: Final = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]


def steering_program(sockets: int) -> list[Instruction]:
    """Classic BPF: source address of the packet -> number of the socket (instructions: code, jump if true, if false, operand)."""
    ipv6 = [(_LD_W, 0, 0, _NET + 8)]
    for offset in (12, 16, 20):
        ipv6 += [(_TAX, 0, 0, 0), (_LD_W, 0, 0, _NET + offset), (_XOR_X, 0, 0, 0)]
    return [
        (_LD_B, 0, 0, _NET),
        (_RSH_K, 0, 0, 4),
        (_JEQ_K, 2, 0, 6),
        (_LD_W, 0, 0, _NET + 12),
        (0x05, 0, 0, len(ipv6)),  # ja: over the IPv6 part
        *ipv6,
        (_MUL_K, 0, 0, _MIX),
        (_RSH_K, 0, 0, 16),
        (_MOD_K, 0, 0, sockets),
        (_RET_A, 0, 0, 0),
    ]


def open_group(listener: Listener, sockets: int) -> list[socket.socket]:
    """So many UDP sockets on one port, steered by source; raises ConfigError and leaves none open then."""
    opened: list[socket.socket] = []
    try:
        for _ in range(sockets):
            opened.append(open_socket(listener, shared=True))
            listener = listener.model_copy(update={"port": opened[0].getsockname()[1]})
        _attach(opened[0], steering_program(sockets))
    except (ConfigError, OSError) as error:
        for each in opened:
            each.close()
        if isinstance(error, ConfigError):
            raise
        place = f"UDP {listener.host} port {listener.port}"
        raise ConfigError([f"ingest.processes: {place} cannot be shared: {error.strerror}"]) from error
    return opened


def _attach(udp: socket.socket, program: list[Instruction]) -> None:
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    udp.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, pointer)
