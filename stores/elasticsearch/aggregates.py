"""Aggregate documents to bulk requests: indexed under their slot, newer versions over older ones.

In: rows of AGGREGATE with their ids and JSON. Out: Documents, one per day of windows. Refuses to know how ids and JSON are made
(columns/documents.py). An id names a group's rank slot, and the version is the number of rows merged into the group: a replay of
an older mark is refused by the server, which is as good as taken.

Each document also carries `bound`: what an item that is missing in its group has at most (docs/explanation/numbers.md 8), so that
the server can add up the errors of answers.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowpb.documents import LEVEL_MINUTE
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import DAY_MS, KIND_OF, days_of, index_at

Ints = NDArray[np.int64]
_LARGE: Final = np.int64(1 << 62)


def aggregate_documents(
    prefix: str, table: pa.Table, ids: Sequence[str], documents: Sequence[bytes], level: str = LEVEL_MINUTE
) -> list[Documents]:
    """Documents of all rows of `table`, in order per day; `ids` and `documents` have one entry per row."""
    day = days_of(table.column("window_start_ms").to_numpy())
    versions = table.column("rows").to_numpy()
    lines = [
        f'{{"index":{{"_id":"{name}","version":{version},"version_type":"external_gte"}}}}\n'.encode()
        + document[:-1]
        + b',"bound":%d}\n' % bound
        for name, version, document, bound in zip(ids, versions.tolist(), documents, bounds(table).tolist(), strict=True)
    ]
    text = pa.array(lines, pa.binary()).cast(pa.string())
    return [
        Documents(index_at(prefix, KIND_OF[level], number * DAY_MS), text.filter(pa.array(day == number)))
        for number in np.unique(day).tolist()
    ]


def bounds(table: pa.Table) -> Ints:
    """Per row, the most that an item absent from its (window, group) can have; 0 where there is no Other document.

    No more than Other itself, and no more than the floor; or, where items were left out that are no smaller than the floor, than
    the last ranked value plus the floor. All rows of a group must be in the table.
    """
    kind = table.column("aggregation_type").cast(pa.string()).to_numpy(zero_copy_only=False)
    value, floor, slot = (table.column(name).to_numpy() for name in ("bytes_total", "floor", "slot"))
    group = _groups(table)
    count = int(group.max()) + 1 if len(group) else 0
    other, ranked = kind == "OTHER", kind == "TOPK"
    rest, place = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    rest[group[other]], place[group[other]] = value[other], slot[other]
    last = np.full(count, _LARGE)
    np.minimum.at(last, group[ranked], value[ranked])
    highest = np.zeros(count, np.int64)
    np.maximum.at(highest, group, floor)
    full = np.bincount(group[ranked], minlength=count) >= place
    bound = np.minimum(rest, highest + np.where(full, last, 0))
    found: Ints = np.where(rest >= 0, bound, 0)[group]
    return found


def _groups(table: pa.Table) -> Ints:
    """A number per (window, group)."""
    window, group = (table.column(name).to_numpy() for name in ("window_start_ms", "group_id"))
    order = np.lexsort((group, window))
    window, group = window[order], group[order]
    first = np.ones(len(order), np.int64)
    first[1:] = (window[1:] != window[:-1]) | (group[1:] != group[:-1])
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(first) - 1
    return number
