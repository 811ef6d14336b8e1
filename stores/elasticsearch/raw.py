"""Raw flows to bulk requests, column by column: pieces of text per distinct value, joined once for all flows.

In: judged batches. Out: Documents, one per day of receipt. Refuses to know the server. Ids are collector-epoch-lane-seq-row, the
same on every bus, and documents are only ever created: whoever sends one twice is told that it is there.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from common.dictionaries import with_shared_joined
from flowpb.schema import ADDRESS
from stores.elasticsearch import pieces
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.fields import LISTED, NAMED, RawField, Together, raw_columns
from stores.elasticsearch.intervals import Judged, judge
from stores.elasticsearch.layout import DAY_MS, RAW, days_of, index_at
from stores.elasticsearch.pieces import Coded, Part
from stores.elasticsearch.selection import without
from stores.elasticsearch.target import Target
from stores.judged import JudgedBatch

ENDS: Final = ("src_addr", "dst_addr")
CHUNK: Final = 50_000
"""Flows that are joined at a time: fewer cost more each, more do not fit the caches."""
_MISSING: Final = "null"


@dataclass(frozen=True, slots=True)
class Columns:
    """One array per column; texts of addresses are made once."""

    rows: int
    arrays: Mapping[str, pa.Array]
    addresses: dict[str, Coded] = field(default_factory=dict)

    def code(self, name: str) -> Coded:
        """A column by its distinct values, as JSON."""
        return self.address(name) if self.arrays[name].type == ADDRESS else pieces.code_column(self.arrays[name])

    def address(self, name: str) -> Coded:
        """An address column by its distinct values, quoted; without the column no flow has one."""
        if name not in self.addresses:
            absent = Coded(np.zeros(self.rows, np.int64), pa.nulls(1, pa.string()))
            self.addresses[name] = pieces.code_column(self.arrays[name]) if name in self.arrays else absent
        return self.addresses[name]


def raw_documents(target: Target, batches: Sequence[JudgedBatch]) -> list[Documents]:
    """Documents of all flows, in the order given, per day of receipt."""
    filled = [batch for batch in batches if batch.flows.num_rows]
    days: dict[int, list[JudgedBatch]] = {}
    for batch, day in zip(filled, days_of(np.array([batch.mark_ms for batch in filled], np.int64)).tolist(), strict=True):
        days.setdefault(day, []).append(batch)
    found = []
    for day, of_day in days.items():
        index = index_at(target.prefix, RAW, day * DAY_MS)
        found += [Documents(index, _lines(target, chunk)) for chunk in _chunks(of_day)]
    return found


def _chunks(batches: Iterable[JudgedBatch]) -> Iterable[list[JudgedBatch]]:
    chunk: list[JudgedBatch] = []
    for batch in batches:
        if chunk and sum(each.flows.num_rows for each in chunk) + batch.flows.num_rows > CHUNK:
            yield chunk
            chunk = []
        chunk.append(batch)
    if chunk:
        yield chunk


def _lines(target: Target, batches: Sequence[JudgedBatch]) -> pa.StringArray:
    flows = _combined(batches)
    sizes = [batch.flows.num_rows for batch in batches]
    mark, frontier = (np.repeat(np.array(values, np.int64), sizes) for values in _judgement(batches))
    judged = judge(flows, mark, frontier)
    opennms = target.profile == "opennms"
    arrays = {name: flows.column(name).chunk(0) for name in flows.schema.names} | _times(judged)
    arrays = without(arrays, target.drop)
    columns = Columns(len(mark), arrays)
    fields = [field for field in raw_columns(target.profile, target.fields) if field.column in arrays]
    top = [field for field in fields if not field.object and field.column != "exported_ms"]
    flow = [field for field in fields if field.object == "netflow" and field.column != "delta_switched_ms"]
    nodes = [
        pieces.wrap(name, _together([field for field in fields if field.object == name], columns, opennms))
        for name in ("node_exporter", "node_src", "node_dst")
        if any(field.object == name for field in fields)
    ]
    parts: list[Part] = [
        *_action(batches, sizes),
        arrays["exported_ms"].cast(pa.string()),
        *_members(top, columns, opennms),
        *(_hosts(columns) if opennms else []),
        ',"netflow":{"delta_switched":',
        arrays["delta_switched_ms"].cast(pa.string()),
        *_members(flow, columns, opennms),
        *(_conversations(columns) if opennms else []),
        *([_late(judged)] if judged.late.any() else []),
        "}",
        *nodes,
        "}\n",
    ]
    return pieces.join_rows(parts)


def _combined(batches: Sequence[JudgedBatch]) -> pa.Table:
    """All flows in one chunk per column, with one dictionary each."""
    tables = [pa.Table.from_batches([batch.flows]) for batch in batches]
    whole = pa.concat_tables(tables, promote_options="default") if len(tables) > 1 else tables[0]
    return with_shared_joined(whole).unify_dictionaries().combine_chunks() if len(tables) > 1 else whole


def _judgement(batches: Sequence[JudgedBatch]) -> tuple[list[int], list[int]]:
    return [batch.mark_ms for batch in batches], [batch.frontier_ms for batch in batches]


def _times(judged: Judged) -> dict[str, pa.Array]:
    """The corrected times in the place of the exporter's."""
    return {
        "exported_ms": pa.array(judged.exported),
        "first_switched_ms": pa.array(judged.first),
        "delta_switched_ms": pa.array(judged.start),
        "last_switched_ms": pa.array(judged.end),
    }


def _action(batches: Sequence[JudgedBatch], sizes: Sequence[int]) -> list[Part]:
    """Everything up to the first value of the document."""
    names = (json.dumps(f"{b.collector}-{b.epoch}-{b.lane}-{b.seq}-", ensure_ascii=False)[:-1] for b in batches)
    heads = pa.array([f'{{"create":{{"_id":{name}' for name in names])
    rows = np.concatenate([np.arange(n) if b.numbers is None else b.numbers for n, b in zip(sizes, batches, strict=True)])
    batch = np.repeat(np.arange(len(sizes)), sizes)
    return [Coded(batch, heads), pa.array(rows).cast(pa.string()), '"}}\n{"@timestamp":']


def _members(fields: Sequence[RawField], columns: Columns, opennms: bool) -> list[Part]:
    """Pieces of one object: those of combinations, then those of each flow alone."""
    found: list[Part] = [',"@version":"1"'] if opennms and fields and not fields[0].object else []
    for together in Together:
        chosen = [field for field in fields if field.together is together]
        if together is Together.NOTHING:
            for field in chosen:
                column = columns.arrays[field.column]
                nested = pa.types.is_nested(column.type)
                found += [pieces.structures(field.name, column)] if nested else pieces.numbers(field.name, column)
        elif chosen:
            found.append(_together(chosen, columns, opennms))
    return found


def _together(fields: Sequence[RawField], columns: Columns, opennms: bool) -> Coded:
    return pieces.combine([_member(field, columns, opennms) for field in fields])


def _member(field: RawField, columns: Columns, opennms: bool) -> Coded:
    column = columns.arrays[field.column]
    if field.column in NAMED:
        return pieces.member(field.name, pieces.code_column(column, pieces.words(NAMED[field.column])))
    if field.column in LISTED:
        return pieces.member(field.name, pieces.code_column(column, lambda text: json.dumps(text.split(","), ensure_ascii=False)))
    if field.column == "tos" and opennms:
        return pieces.member("tos", pieces.code_column(column, lambda tos: f'{tos},"dscp":{tos >> 2},"ecn":{tos & 3}'))
    return pieces.member(field.name, columns.code(field.column))


def _late(judged: Judged) -> Coded:
    said = pa.array(["", ',"late":true', ',"late":true,"ancient":true'])
    return Coded(judged.late.astype(np.int64) + judged.ancient, said)


def _hosts(columns: Columns) -> list[Part]:
    """Both ends, as many as there are, the destination first as OpenNMS has them."""
    first, second = (columns.address(name) for name in reversed(ENDS))
    both = (first.code > 0) & (second.code > 0)
    between: Part = "," if both.all() else Coded(both.astype(np.int64), pa.array(["", ","]))
    return [',"hosts":[', first, between, second, "]"]


def _conversations(columns: Columns) -> list[Part]:
    """The conversation key of docs/explanation/numbers.md 6, JSON as a text in JSON."""
    location, protocol, application = (_coded(columns, *each) for each in _KEYED)
    return [
        _within(',"convo_key":"[', location, ","),
        _within("", protocol, ","),
        *_ends(columns),
        _within("", application, ']"'),
    ]


def _coded(columns: Columns, name: str, spell: Callable[[Any], str | None]) -> Coded:
    if name not in columns.arrays:
        return Coded(np.zeros(columns.rows, np.int64), pa.nulls(1, pa.string()))
    return pieces.code_column(columns.arrays[name], spell)


def _twice(text: str) -> str:
    return json.dumps(json.dumps(text, ensure_ascii=False), ensure_ascii=False)[1:-1]


def _within(before: str, coded: Coded, after: str) -> Coded:
    """The values between two texts."""
    return Coded(coded.code, pc.binary_join_element_wise(before, pc.fill_null(coded.texts, _MISSING), after, ""))


def _ends(columns: Columns) -> tuple[Coded, Coded]:
    """Texts of both addresses, quoted twice, the lower of their 16 octets first, null before all; a comma behind each."""
    coded = [columns.address(name) for name in ENDS]
    high, low = zip(*(_words(columns.arrays[name].dictionary if name in columns.arrays else None) for name in ENDS), strict=True)
    source, destination = (each.code for each in coded)
    above = high[0][source] > high[1][destination]
    same = high[0][source] == high[1][destination]
    swap = (above | (same & (low[0][source] > low[1][destination])) | (destination == 0)) & (source != 0)
    texts = pc.fill_null(pc.replace_substring(pa.concat_arrays([each.texts for each in coded]), '"', '\\"'), _MISSING)
    texts = pc.binary_join_element_wise(texts, ",", "")
    destination = destination + len(coded[0].texts)
    lower, upper = np.where(swap, destination, source), np.where(swap, source, destination)
    return Coded(lower, texts), Coded(upper, texts)


def _words(dictionary: pa.Array | None) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Upper and lower half of each address, after those of "no value"."""
    halves = np.zeros((1 if dictionary is None else len(dictionary) + 1, 2), np.uint64)
    if dictionary is not None and len(dictionary):
        stored = np.frombuffer(dictionary.buffers()[1], ">u8").reshape(-1, 2)
        halves[1:] = stored[dictionary.offset : dictionary.offset + len(dictionary)]
    return halves[:, 0], halves[:, 1]


_KEYED: Final = (("location", _twice), ("protocol", pieces.text_of), ("application", _twice))
"""What a conversation key has beside its ends, and how it is written there."""
