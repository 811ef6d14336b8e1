"""Who an exporter is where its flows say so themselves, as FlowDocuments do: on the way through state to documents.

In: columns of flows. Out: one text per exporter, JSON of foreign source, foreign id and node id, empty where nothing was said; and
the three again. Of several that one exporter had in a window the largest text stands. Refuses to know the inventory.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints

NODE_COLUMNS: Final = ("exporter_foreign_source", "exporter_foreign_id", "exporter_node_id")
Node = tuple[str | None, str | None, int | None]
NOBODY: Final[Node] = (None, None, None)
_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class FlowNodes:
    """Per flow the codes of both texts (0: null) and the number (0: null, no node has it)."""

    sources: tuple[str, ...]
    source: Ints
    foreign_ids: tuple[str, ...]
    foreign_id: Ints
    node_id: Ints

    def of_exporters(self, exporter: Ints, count: int) -> tuple[str, ...]:
        """Text of each of `count` exporters from the last flow that says who it is; `exporter` is that of each flow."""
        said = np.flatnonzero((self.source > 0) | (self.foreign_id > 0) | (self.node_id > 0))
        if not len(said):
            return ()
        last = np.full(count, -1)
        last[exporter[said]] = said
        sources, foreign_ids = (None, *self.sources), (None, *self.foreign_ids)
        texts = [""] * count
        for place in np.flatnonzero(last >= 0).tolist():
            row = last[place]
            node = sources[self.source[row]], foreign_ids[self.foreign_id[row]], int(self.node_id[row]) or None
            texts[place] = _JSON.encode(node)
        return tuple(texts)


def node_of(text: str) -> Node:
    """What a text says."""
    if not text:
        return NOBODY
    source, foreign_id, node_id = json.loads(text)
    return source, foreign_id, node_id


def unified(sources: Sequence[tuple[str, ...]], codes: Sequence[Ints], count: int) -> tuple[str, ...]:
    """Texts of `count` exporters from several sets; `codes` are the new ones of each set's exporters."""
    if not any(sources):
        return ()
    texts = [""] * count
    for source, code in zip(sources, codes, strict=True):
        for place, text in zip(code.tolist(), source, strict=bool(source)):
            texts[place] = max(texts[place], text)
    return tuple(texts)
