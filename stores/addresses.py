"""Address columns to text, formatted once per distinct value.

In: 16-byte canonical addresses (RFC 4291 section 2.5.5.2 for IPv4). Out: the text of common.addresses, columnar. Refuses to know
which store wants it.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.addresses import format_address

_DECIMAL: Final = pa.array([str(octet) for octet in range(256)])
_MAPPED: Final = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)


def address_texts(packed: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Text of each address, nulls kept: dotted for IPv4-mapped ones, else RFC 5952."""
    texts = pa.nulls(len(packed), pa.string())
    valid = pc.fill_null(packed.is_valid(), False)
    octets = _octets(packed.filter(valid))
    mapped = (octets[:, :12] == _MAPPED).all(axis=1)
    short = _dotted(octets[mapped])
    long = pa.array([format_address(row.tobytes()) for row in octets[~mapped]], pa.string())
    found = pc.replace_with_mask(pa.nulls(len(octets), pa.string()), pa.array(mapped), short)
    found = pc.replace_with_mask(found, pa.array(~mapped), long)
    return pc.replace_with_mask(texts, valid, found)


def text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of flowpb.schema.ADDRESS as dictionary-encoded text; all its chunks share one dictionary."""
    indices = pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int32())
    texts = address_texts(column.chunk(0).dictionary)
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.chunked_array([pa.DictionaryArray.from_arrays(chunk, texts) for chunk in indices.chunks], kind)


def _octets(packed: pa.FixedSizeBinaryArray) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if not len(packed):
        return np.empty((0, 16), np.uint8)
    content = np.frombuffer(packed.buffers()[1], np.uint8, 16 * len(packed), 16 * packed.offset)
    return content.reshape(-1, 16)


def _dotted(octets: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> pa.StringArray:
    parts = [_DECIMAL.take(pa.array(octets[:, place])) for place in range(12, 16)]
    return pc.binary_join_element_wise(*parts, ".")
