"""Sections of sampled packets in IPFIX records (elements 313 and 315, RFC 7133): columns through the same parser as sFlow's heads.

In: rows with such an element. Out: columns of FLOW, before those that elements of their own fill. A record without counters counts
its one packet. Refuses to know packets.
"""

from typing import Final

import numpy as np

from ingest.columns_of_samples import put_heads
from ingest.protocols.packet_header import ETHERNET, IPV4, IPV6, SLACK, parse_heads
from ingest.rows import Rows

_IP_SECTION: Final = 313
_FRAME_SECTION: Final = 315
_FRAME_SIZE: Final = 312
_COUNTERS: Final = (1, 2, 23, 24, 85, 86, 352)


def put_sections(rows: Rows) -> None:
    """Columns of the packets whose sections the records have."""
    element = next(iter(rows.present(_FRAME_SECTION, _IP_SECTION)), None)
    if element is None:
        return
    starts, lengths = rows.spans((0, element))
    data = np.concatenate([rows.block.data, np.zeros(SLACK, np.uint8)])
    nibble = data[starts] >> 4
    kind = np.full(len(starts), ETHERNET) if element == _FRAME_SECTION else np.where(nibble == 6, IPV6, IPV4)
    heads = parse_heads(data, starts, starts + lengths, kind)
    put_heads(heads, rows.out, rows.where)
    if rows.present(*_COUNTERS):
        return
    rows.put("packets", np.ones(rows.count, np.uint64))
    if rows.has(_FRAME_SIZE):
        rows.put("l2_bytes", rows.uint(_FRAME_SIZE, np.uint64))
        rows.put("bytes", rows.uint(_FRAME_SIZE, np.uint64))
    if heads.ip_length is not None:
        rows.put("bytes", heads.ip_length.values, heads.ip_length.rows)
