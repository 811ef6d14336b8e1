"""NetFlow v9 packets and flowsets (RFC 3954 sections 5 and 6).

In: layouts and records. Out: octets. Flowsets are padded to 32 bits (section 5.3).
"""

import struct
from collections.abc import Sequence
from typing import Final

from ingest.loadgen.wire.fields import Field, Layout

SCOPE_SYSTEM: Final = 1
SCOPE_INTERFACE: Final = 2
_TEMPLATES: Final = 0
_OPTIONS_TEMPLATES: Final = 1
_HEADER: Final = struct.Struct("!HHIIII")
_SET: Final = struct.Struct("!HH")
_PAIR: Final = struct.Struct("!HH")


def header(count: int, uptime_ms: int, exported_ms: int, sequence: int, source_id: int) -> bytes:
    """The header of a packet with `count` records of any kind; its time has whole seconds (section 5.1)."""
    return _HEADER.pack(9, count, uptime_ms & 0xFFFFFFFF, exported_ms // 1000, sequence & 0xFFFFFFFF, source_id)


def flowset(set_id: int, body: bytes) -> bytes:
    """A flowset with its padding."""
    padding = -len(body) % 4
    return b"".join((_SET.pack(set_id, 4 + len(body) + padding), body, bytes(padding)))


def template_flowset(layouts: Sequence[Layout]) -> bytes:
    """Templates of flow records (section 5.2)."""
    return flowset(_TEMPLATES, b"".join(_PAIR.pack(t.template_id, len(t.fields)) + _pairs(t.fields) for t in layouts))


def options_template_flowset(template_id: int, scope: Sequence[Field], options: Sequence[Field]) -> bytes:
    """A template of options records (section 6.1); `scope` fields have scope types for element ids."""
    lengths = struct.pack("!HHH", template_id, 4 * len(scope), 4 * len(options))
    return flowset(_OPTIONS_TEMPLATES, lengths + _pairs(scope) + _pairs(options))


def _pairs(fields: Sequence[Field]) -> bytes:
    return b"".join(_PAIR.pack(field.element, field.length) for field in fields)
