"""Sections of sampled packets in records (elements 313 and 315, RFC 7133; 104 of v9): columns through the parser of sFlow's heads.

In: rows with such an element. Out: columns of FLOW, before those that elements of their own fill. A record without counters counts
its one packet. Refuses to know packets.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.columns_of_samples import put_heads
from ingest.protocols.packet_header import ETHERNET, IPV4, IPV6, SLACK, Heads, parse_heads
from ingest.rows import Rows

_IP_SECTION: Final = 313
_FRAME_SECTIONS: Final = (104, 315)
"""layer2packetSectionData of NetFlow v9, and the element that took its place."""
_FRAME_SIZE: Final = 312
_FRAME_TYPE: Final = 408
_OFFSETS: Final = (409, 102)
_EXPORTED_OCTETS: Final = 410
_NOT_SAID, _IEEE_802_3 = 0, 1
"""Values of dataLinkFrameType; the others are links whose heads are not read."""
_UNREAD: Final = 0
_COUNTERS: Final = (1, 2, 23, 24, 85, 86, 352)


def put_sections(rows: Rows) -> None:
    """Columns of the packets whose sections the records have; what a frame says counts over what its packet says."""
    present = rows.present(_IP_SECTION, *_FRAME_SECTIONS)
    if not present:
        return
    data = np.concatenate([rows.block.data, np.zeros(SLACK, np.uint8)])
    read = [_read(rows, element, data) for element in present]
    for heads in read:
        put_heads(heads, rows.out, rows.where)
    if rows.present(*_COUNTERS):
        return
    rows.put("packets", np.ones(rows.count, np.uint64))
    if rows.has(_FRAME_SIZE):
        rows.put("l2_bytes", rows.uint(_FRAME_SIZE, np.uint64))
        rows.put("bytes", rows.uint(_FRAME_SIZE, np.uint64))
    for heads in read:
        if heads.ip_length is not None:
            rows.put("bytes", heads.ip_length.values, heads.ip_length.rows)


def _read(rows: Rows, element: int, data: NDArray[np.uint8]) -> Heads:
    """Octets after sectionExportedOctets are padding; a section that does not begin with its frame or packet is not read."""
    starts, lengths = rows.spans((0, element))
    if rows.has(_EXPORTED_OCTETS):
        lengths = np.minimum(lengths, rows.uint(_EXPORTED_OCTETS))
    if element in _FRAME_SECTIONS:
        link = rows.uint(_FRAME_TYPE) if rows.has(_FRAME_TYPE) else np.zeros(rows.count, np.int64)
        kind = np.where(np.isin(link, (_NOT_SAID, _IEEE_802_3)), ETHERNET, _UNREAD)
    else:
        kind = np.where(data[starts] >> 4 == 6, IPV6, IPV4)
    for offset in rows.present(*_OFFSETS):
        kind = np.where(rows.uint(offset) > 0, _UNREAD, kind)
    return parse_heads(data, starts, starts + lengths, kind)
