"""Export packets and flows in the plainest form, for tests of the service around the decoders."""

import struct

import numpy as np
import pyarrow as pa


def ipv4(last: int) -> bytes:
    return bytes(10) + b"\xff\xff\x0a\x00" + struct.pack(">H", last)


def make_flows(rows: int, exporters: int = 1, first: int = 0) -> pa.RecordBatch:
    """`rows` flows of few columns; every row has an address of its own."""
    sources = pa.array([ipv4(number) for number in range(first, first + exporters)], pa.binary(16))
    hosts = pa.array([ipv4(number % 65536) for number in range(rows)], pa.binary(16))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.arange(rows, dtype=np.int64)),
            pa.DictionaryArray.from_arrays(pa.array(np.arange(rows, dtype=np.int32) % exporters), sources),
            pa.DictionaryArray.from_arrays(pa.array(np.arange(rows, dtype=np.int32)), hosts),
            pa.array(np.arange(rows, dtype=np.uint64)),
        ],
        names=["received_ms", "exporter_addr", "src_addr", "bytes"],
    )
