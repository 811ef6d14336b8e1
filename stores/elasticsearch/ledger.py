"""Rows of the ledger to bulk requests, and their sums back.

In: rows of LEDGER with their ids and JSON; questions about the ledger. Out: Documents, one per day of minutes, newer versions over
older ones; and rows of answers, added up by the server. Refuses to know how ids and JSON are made (columns/ledger_table.py).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import DAY_MS, LEDGER, day_index, days_of


def ledger_documents(prefix: str, table: pa.Table, ids: Sequence[str], documents: Sequence[bytes]) -> list[Documents]:
    """Documents of all rows of `table`, in order per day; `ids` and `documents` have one entry per row."""
    day = days_of(table.column("minute_ms").to_numpy())
    versions = table.column("version").to_pylist()
    lines = [
        f'{{"index":{{"_id":"{name}","version":{version},"version_type":"external_gte"}}}}\n'.encode() + document + b"\n"
        for name, version, document in zip(ids, versions, documents, strict=True)
    ]
    text = pa.array(lines, pa.binary()).cast(pa.string())
    return [
        Documents(day_index(prefix, LEDGER, number * DAY_MS), text.filter(pa.array(day == number)))
        for number in np.unique(day).tolist()
    ]
