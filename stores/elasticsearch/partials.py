"""Partials to documents: one per lane and window, whose state is a compressed binary field that is not indexed.

In: tables of flowpb.partials. Out: Documents. Refuses to send them. The id is lane and window, and the version the number of rows:
a replay writes the same again, and never less than a repair has written.
"""

import base64

import orjson
import pyarrow as pa

from stores.cascade import level_of, squeezed
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import index_at, partials_kind


def partial_documents(prefix: str, partials: pa.Table) -> list[Documents]:
    """A document per row, one index after the other."""
    kind = partials_kind(level_of(partials))
    lines: dict[str, list[bytes]] = {}
    for row in partials.to_pylist():
        name = f"{row['lane']}-{row['window_start_ms'] // 60_000}"
        action = {"index": {"_id": name, "version": row["rows"], "version_type": "external_gte"}}
        document = {
            "range_start": row["window_start_ms"],
            "range_end": row["window_end_ms"],
            "lane": row["lane"],
            "rows": row["rows"],
            "made_of": row["made_of"],
            "state": base64.b64encode(squeezed(row["state"])).decode(),
        }
        line = orjson.dumps(action) + b"\n" + orjson.dumps(document) + b"\n"
        lines.setdefault(index_at(prefix, kind, row["window_start_ms"]), []).append(line)
    return [Documents(index, pa.array(of_index, pa.binary()).cast(pa.string())) for index, of_index in lines.items()]
