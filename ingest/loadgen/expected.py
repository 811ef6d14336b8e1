"""The oracle: bus entries or batches in, the exact documents and counts out.

In: a lane's log in order (lanes in any order), or batches made by hand. Out: the documents after the last mark of every window, all
exact (error and floor 0), without what says when a document was written. Shares no code with the product but its contract.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa

from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import DEFAULT_VALUES, TOP_K, WIDE, WINDOW_MS, Grouping, Kind, Scope, Values
from flowpb.lanes import LANES, lane_of

from .oracle.flows import Batch, Flow, address_text, read_entry
from .oracle.groups import Document, Group, items_of, sides_of
from .oracle.judge import Counts, LaneLog, Share, judge, saturates, spread
from .oracle.services import application_of

KEY = ("window_start_ms", "grouped_by", "location", "exporter_addr", "if_index", "dscp", "slot")
"""What tells documents apart, and their canonical order (null first)."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A group of one window."""

    window_ms: int
    grouped_by: str
    location: str | None
    exporter: bytes | None
    if_index: int | None
    dscp: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The documents in canonical order, and what was counted on the way."""

    documents: list[Document]
    counts: Counts

    def table(self) -> pa.Table:
        """The documents in AGGREGATE_SCHEMA; `mark`, `final` and `group_id` are null."""
        return pa.Table.from_pylist(self.documents, schema=AGGREGATE_SCHEMA)

    def totals(self) -> list[Document]:
        """Bytes, packets and flows of every exporter and every interface over all windows."""
        sums: dict[tuple[str, int], Document] = {}
        for document in self.documents:
            of_exporter = document["exporter_addr"] is not None
            if of_exporter and document["aggregation_type"] == "TOTAL" and document["dscp"] is None:
                index = document["if_index"]
                key = (str(document["exporter_addr"]), -1 if index is None else int(index))
                line = sums.setdefault(key, {"exporter_addr": key[0], "if_index": index} | dict.fromkeys(_SUMMED, 0))
                for name in _SUMMED:
                    line[name] = int(line[name] or 0) + int(document[name] or 0)
        return [sums[key] for key in sorted(sums)]

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {"counts": asdict(self.counts), "totals": self.totals(), "documents": self.documents}


_SUMMED = tuple(f"{counter}_{side}" for counter in ("bytes", "packets", "flows") for side in ("ingress", "egress", "total"))


@dataclass(slots=True)
class Oracle:
    """Takes batches in log order and knows the answer at any time; with `wide`, at location and system scope, too.

    With `repaired` the answer is that after the repair of all windows.
    """

    k: int = TOP_K
    with_dscp: bool = False
    both_sides: bool = False
    wide: bool = True
    values: tuple[Values, ...] = DEFAULT_VALUES
    repaired: bool = False
    lanes: int = LANES
    counts: Counts = field(default_factory=Counts)
    _logs: dict[int, LaneLog] = field(default_factory=dict)
    _groups: dict[_Name, Group] = field(default_factory=dict)
    _of_lanes: list[Grouping] = field(init=False)

    def __post_init__(self) -> None:
        self._of_lanes = [
            Grouping(scope, kind, dscp)
            for scope, dscp in ((Scope.INTERFACE, False), (Scope.EXPORTER, False), (Scope.INTERFACE, True))
            for kind in (*Kind, *self.values)
            if (self.with_dscp or not dscp) and (not isinstance(kind, Values) or kind.kept_at(scope))
        ]

    def take_entry(self, entry: bytes, append_ms: int | None = None) -> None:
        """One bus entry; `append_ms` is when the bus took it."""
        self.take(read_entry(entry, append_ms))

    def take_all(self, batches: Iterable[Batch]) -> None:
        """Batches in log order."""
        for batch in batches:
            self.take(batch)

    def take(self, batch: Batch) -> None:
        """One batch."""
        self.counts.batches += 1
        log = self._logs.setdefault(batch.lane, LaneLog())
        mark = log.admit(batch)
        if mark is None or log.frontier_ms is None:
            self.counts.repeats += 1
            return
        for flow in batch.flows:
            self._count(flow, mark, log.frontier_ms)

    def answer(self) -> Answer:
        """Documents of all groups so far."""
        groups = self._groups | (self._wide() if self.wide else {})
        groups = {name: group for name, group in groups.items() if _is_shown(group.grouping)}
        documents = [
            self._placed(name, document) for name in sorted(groups, key=_order) for document in groups[name].documents(self.k)
        ]
        return Answer(documents, self.counts)

    def _wide(self) -> dict[_Name, Group]:
        """Groups of locations and of the system, put together from those of the exporters (numbers.md section 12)."""
        groups: dict[_Name, Group] = {}
        for name, group in self._groups.items():
            if group.grouping.scope is Scope.EXPORTER:
                for scope in WIDE:
                    grouping = replace(group.grouping, scope=scope)
                    location = name.location if scope is Scope.LOCATION else None
                    wide = _Name(name.window_ms, grouping.grouped_by, location, None, None, None)
                    groups.setdefault(wide, Group(grouping)).put_together(group)
        return groups

    def _count(self, flow: Flow, mark_ms: int, frontier_ms: int) -> None:
        self.counts.flows += 1
        interval = judge(flow, mark_ms, frontier_ms, self.counts, self.repaired)
        if interval is None:
            return
        self.counts.saturated += sum(saturates(value, flow.sampling_interval) for value in (flow.bytes, flow.packets))
        application = application_of(flow.protocol, flow.src_port, flow.dst_port)
        for share in spread(flow, interval):
            for grouping in self._of_lanes:
                self._add(grouping, flow, share, application)

    def _add(self, grouping: Grouping, flow: Flow, share: Share, application: str | None) -> None:
        dscp = (flow.tos or 0) >> 2 if grouping.dscp else None
        items = items_of(grouping.kind, flow, application)
        for if_index, side in sides_of(flow, grouping.scope, self.both_sides):
            name = _Name(share.window_ms, grouping.grouped_by, flow.location, flow.exporter, if_index, dscp)
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = Group(grouping)
            group.add(share, side, flow.tos, items)

    def _placed(self, name: _Name, document: Document) -> Document:
        place: Document = {
            "window_start_ms": name.window_ms,
            "window_end_ms": name.window_ms + WINDOW_MS,
            "location": name.location,
            "exporter_addr": address_text(name.exporter),
            "if_index": name.if_index,
            "dscp": name.dscp,
            "lane": None if name.exporter is None else lane_of(name.exporter, self.lanes),
        }
        return place | document


def _is_shown(grouping: Grouping) -> bool:
    return not isinstance(grouping.kind, Values) or grouping.scope in grouping.kind.scopes


def canonical_order(document: Document) -> tuple[tuple[bool, object], ...]:
    """Sort key of a document by KEY, null first; of two documents with one key there is none left to compare."""
    return tuple((document[name] is not None, document[name] if document[name] is not None else 0) for name in KEY)


def _order(name: _Name) -> tuple[tuple[bool, object], ...]:
    exporter = address_text(name.exporter)
    parts = (name.window_ms, name.grouped_by, name.location, exporter, name.if_index, name.dscp)
    return tuple((part is not None, 0 if part is None else part) for part in parts)
