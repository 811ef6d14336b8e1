"""IPFIX messages and sets (RFC 7011 section 3).

In: layouts and records. Out: octets. No padding: sets end with their last record.
"""

import struct
from collections.abc import Sequence
from typing import Final

from ingest.loadgen.wire.fields import Field, Layout

HEADER_SIZE: Final = 16
_TEMPLATES: Final = 2
_OPTIONS_TEMPLATES: Final = 3
_HEADER: Final = struct.Struct("!HHIII")
_SET: Final = struct.Struct("!HH")
_PAIR: Final = struct.Struct("!HH")


def header(length: int, exported_ms: int, sequence: int, domain: int) -> bytes:
    """The header of a message of `length` octets with it; `sequence` counts the data records sent before (section 3.1)."""
    return _HEADER.pack(10, length, exported_ms // 1000, sequence & 0xFFFFFFFF, domain)


def record_set(set_id: int, body: bytes) -> bytes:
    """A set (section 3.3)."""
    return _SET.pack(set_id, 4 + len(body)) + body


def template_set(layouts: Sequence[Layout]) -> bytes:
    """Templates of flow records (section 3.4.1)."""
    return record_set(_TEMPLATES, b"".join(_PAIR.pack(t.template_id, len(t.fields)) + _pairs(t.fields) for t in layouts))


def options_template_set(template_id: int, scope: Sequence[Field], options: Sequence[Field]) -> bytes:
    """A template of options records (section 3.4.2); scope fields come first and are counted twice."""
    counts = struct.pack("!HHH", template_id, len(scope) + len(options), len(scope))
    return record_set(_OPTIONS_TEMPLATES, counts + _pairs(scope) + _pairs(options))


def variable(value: bytes) -> bytes:
    """A value of variable length (section 7): one octet of length, or three."""
    return (bytes([len(value)]) if len(value) < 255 else b"\xff" + len(value).to_bytes(2, "big")) + value


def _pairs(fields: Sequence[Field]) -> bytes:
    return b"".join(_PAIR.pack(field.element, field.length) for field in fields)
