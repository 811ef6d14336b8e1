"""RECORD: true flows as rows of one numpy structured array, from traffic to encoders and oracle.

Times are milliseconds since 1970-01-01 by the true clock; addresses are 16 octets, IPv4 as ::ffff:a.b.c.d.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

RECORD: Final = np.dtype(
    [
        ("exporter", "i4"),
        ("export_ms", "i8"),
        ("first_ms", "i8"),
        ("delta_ms", "i8"),
        ("last_ms", "i8"),
        ("src_addr", "u1", 16),
        ("dst_addr", "u1", 16),
        ("next_hop", "u1", 16),
        ("src_port", "u2"),
        ("dst_port", "u2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("tos", "u1"),
        ("direction", "u1"),
        ("in_if", "u4"),
        ("out_if", "u4"),
        ("vlan", "u2"),
        ("tcp_flags", "u2"),
        ("bytes", "u8"),
        ("packets", "u8"),
        ("src_as", "u4"),
        ("dst_as", "u4"),
        ("src_mask", "u1"),
        ("dst_mask", "u1"),
        ("flow_end_reason", "u1"),
        ("sample", "i8"),
    ]
)
"""`first_ms` is what the exporter says the start is, `delta_ms` where this record's traffic really began.

`sample` is the number of an sFlow sample at its source, from 1 on, and 0 for a flow record. A sample is one packet at one moment,
its `bytes` are the length that its IP header tells.
"""

Rows = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]
