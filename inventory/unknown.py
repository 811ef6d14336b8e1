"""Exporters that send flows and are not in the inventory.

In: a snapshot and batches of flows. Out: their addresses and locations with the number of their flows. Refuses to know where the
flows are stored.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from columns.dictionaries import places
from columns.inventory import Inventory, distinct
from columns.snapshot import Snapshot
from common.addresses import format_address

UnknownExporter = tuple[str, str | None, int]
"""Address, location, flows."""


def unknown_exporters(snapshot: Snapshot, batches: Iterable[pa.RecordBatch]) -> list[UnknownExporter]:
    """Most flows first."""
    counted: Counter[tuple[bytes, str | None]] = Counter()
    for flows in batches:
        counted.update(_exporters(flows))
    known = Inventory(snapshot)
    rows = [(format_address(exporter[0]), exporter[1], flows) for exporter, flows in counted.items() if not known.knows(*exporter)]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1] or ""))


def _exporters(flows: pa.RecordBatch) -> Counter[tuple[bytes, str | None]]:
    """Flows per exporter and location."""
    if "exporter_addr" not in flows.schema.names:
        return Counter()
    address, locations = flows.column("exporter_addr"), [None]
    location = np.zeros(flows.num_rows, np.int64)
    if "location" in flows.schema.names:
        locations = [*flows.column("location").dictionary.to_pylist(), None]
        location = places(flows.column("location")).astype(np.int64)
    pairs, pair = distinct(places(address).astype(np.int64) * len(locations) + location)
    addresses = [*address.dictionary.to_pylist(), None]
    found = zip(pairs.tolist(), np.bincount(pair, minlength=len(pairs)).tolist(), strict=True)
    named = ((addresses[each // len(locations)], locations[each % len(locations)], count) for each, count in found)
    return Counter({(where, place): count for where, place, count in named if where is not None})
