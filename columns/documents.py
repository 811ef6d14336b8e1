"""Rankings to documents: names, texts and identities.

In: rankings of a state. Out: a table in flowpb.documents.AGGREGATE_SCHEMA, in the order of grouping, group and slot; the ids under
which stores keep its rows. Refuses to know how items were ranked and what a store does with them.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints, Words
from columns.document_json import to_json
from columns.names import Names
from columns.nodes import node_of
from columns.rank import COUNTERS, Entry, Ranking
from columns.state import CONGESTION_ENCOUNTERED, DSCP_BITS, NON_ECT, RANKED, Groups, Level, State
from common.addresses import format_address
from flowpb.documents import AGGREGATE_SCHEMA, LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE, NAMED, NODE
from flowpb.groupings import WINDOW_MS, Grouping, Kind, Scope, Values

__all__ = ["Occasion", "Section", "document_id", "documents", "group_id", "ids_of", "to_json"]

_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_LEVELS: Final = {LEVEL_MINUTE: 0, LEVEL_HOUR: 1, LEVEL_DAY: 2}
_ID: Final = np.dtype([("level", ">u1"), ("minute", ">u4"), ("group", ">u8"), ("slot", ">u2")])
_ID_LENGTH: Final = 20
"""The 15 octets of an id are five times three: as base64 they need no padding, and many can be encoded as one."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What all documents of one emission share."""

    lane: int | None
    window_start_ms: int
    mark: int
    final: bool
    window_ms: int = WINDOW_MS


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one grouping."""

    grouping: Grouping
    level: Level
    groups: Groups
    ranking: Ranking


@lru_cache(maxsize=1 << 16)
def group_id(grouped_by: str, location: str | None, exporter: str | None, if_index: int | None, dscp: int | None) -> int:
    """Identity of a group without its window: the first 8 octets, big-endian, of BLAKE2b over its text.

    The text is the JSON array of the arguments as `json.dumps(..., separators=(",", ":"), ensure_ascii=False)` writes it.
    """
    text = _JSON.encode([grouped_by, location, exporter, if_index, dscp])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def document_id(level: str, window_start_ms: int, group: int, slot: int) -> str:
    """Id of one document: base64url of level, minute, group and slot; ids of a window and group sort together."""
    return _encode(level, np.array([window_start_ms]), np.array([group], np.uint64), np.array([slot]))


def ids_of(table: pa.Table, level: str = LEVEL_MINUTE) -> list[str]:
    """Ids of all rows of a table of AGGREGATE."""
    columns = (table.column(name).to_numpy() for name in ("window_start_ms", "group_id", "slot"))
    text = _encode(level, *columns)
    return [text[i : i + _ID_LENGTH] for i in range(0, len(text), _ID_LENGTH)]


def _encode(level: str, window_start_ms: Ints, group: Any, slot: Any) -> str:
    ids = np.empty(len(slot), _ID)
    ids["level"], ids["minute"], ids["group"], ids["slot"] = _LEVELS[level], window_start_ms // WINDOW_MS, group, slot
    return base64.urlsafe_b64encode(ids.tobytes()).decode()


def documents(state: State, sections: Sequence[Section], occasion: Occasion) -> pa.Table:
    """The table of all sections."""
    if not any(len(section.ranking.group) for section in sections):
        return AGGREGATE_SCHEMA.empty_table()
    rankings = [section.ranking for section in sections]
    sizes = [len(ranking.group) for ranking in rankings]
    columns = {
        **_occasion_columns(occasion, sum(sizes)),
        **_group_columns(state.names, sections),
        **_item_columns(state, sections),
        "grouped_by": _texts(np.repeat(np.arange(len(sections)), sizes), [each.grouping.grouped_by for each in sections]),
        "aggregation_type": _texts(np.concatenate([ranking.entry for ranking in rankings]), [entry.name for entry in Entry]),
        "slot": np.concatenate([ranking.slot for ranking in rankings]).astype(np.int16),
        "error": np.concatenate([ranking.error for ranking in rankings]),
        "floor": np.concatenate([ranking.floor for ranking in rankings]),
        **dict(zip(COUNTERS, np.concatenate([ranking.counters for ranking in rankings], axis=1), strict=True)),
    }
    flags = np.concatenate([ranking.flags for ranking in rankings])
    columns["congestion_encountered"] = (flags & CONGESTION_ENCOUNTERED) > 0
    columns["non_ect"] = (flags & NON_ECT) > 0
    columns |= {name: pa.nulls(sum(sizes), AGGREGATE_SCHEMA.field(name).type) for name in NAMED}
    columns |= _nodes(state.names, sections) if state.names.nodes else {}
    return pa.table(columns, schema=AGGREGATE_SCHEMA)


def _occasion_columns(occasion: Occasion, count: int) -> dict[str, Any]:
    constants: dict[str, int | bool | None] = {
        "window_start_ms": occasion.window_start_ms,
        "window_end_ms": occasion.window_start_ms + occasion.window_ms,
        "lane": occasion.lane,
        "mark": occasion.mark,
        "final": occasion.final,
    }
    return {name: pa.repeat(pa.scalar(value, AGGREGATE_SCHEMA.field(name).type), count) for name, value in constants.items()}


def _group_columns(names: Names, sections: Sequence[Section]) -> dict[str, Any]:
    """What the groups are, and their row counts."""
    exporter_texts = _address_texts(names, names.exporters[:, 1])
    location, exporter, interface, dscp = _place_columns(names, sections)
    ids = [_group_ids(names, section, exporter_texts)[section.ranking.group] for section in sections]
    return {
        "location": _texts(location - 1, names.locations),
        "exporter_addr": _texts(exporter, exporter_texts),
        "if_index": pa.array(interface, mask=interface < 0),
        "dscp": pa.array(dscp.astype(np.int16), mask=dscp < 0),
        "rows": np.concatenate([section.groups.rows[section.ranking.group] for section in sections]),
        "group_id": np.concatenate(ids),
    }


def _nodes(names: Names, sections: Sequence[Section]) -> dict[str, Any]:
    """Who the exporters are, as far as their flows said it."""
    exporter = _place_columns(names, sections)[1]
    columns = zip(*(node_of(text) for text in (*names.nodes, "")), strict=True)
    rows = pa.array(exporter % (len(names.nodes) + 1))  # those without an exporter, -1, have the last, which is nobody
    kinds = (AGGREGATE_SCHEMA.field(name).type for name in NODE)
    return {
        name: pa.array(column, kind.value_type if pa.types.is_dictionary(kind) else kind).take(rows).cast(kind)
        for name, column, kind in zip(NODE, columns, kinds, strict=True)
    }


def _place_columns(names: Names, sections: Sequence[Section]) -> Sequence[Ints]:
    places = [_places(names, s.level, s.groups.code[s.ranking.group]) for s in sections]
    return [np.concatenate(column) for column in zip(*places, strict=True)]


def _places(names: Names, level: Level, code: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Location code (0 for none), exporter code, ifIndex and DSCP of groups; -1 where the level has none."""
    none = np.full(len(code), -1)
    if level.scope is Scope.SYSTEM:
        return np.zeros_like(code), none, none, none
    if level.scope is Scope.LOCATION:
        return code, none, none, none
    if level.scope is Scope.EXPORTER:
        return names.exporters[code, 0], code, none, none
    exporter, interface = names.ports[code >> DSCP_BITS * level.dscp].T
    return names.exporters[exporter, 0], exporter, interface, code & ((1 << DSCP_BITS) - 1) if level.dscp else none


def _group_ids(names: Names, section: Section, exporter_texts: Sequence[str]) -> Words:
    """Ids of all groups of a section, 0 for those that it does not list."""
    ids = np.zeros(len(section.groups.code), np.uint64)
    listed = np.unique(section.ranking.group)
    places = (column.tolist() for column in _places(names, section.level, section.groups.code[listed]))
    locations = (None, *names.locations)
    for position, location, exporter, interface, dscp in zip(listed.tolist(), *places, strict=True):
        place = (None if number < 0 else number for number in (interface, dscp))
        address = None if exporter < 0 else exporter_texts[exporter]
        ids[position] = group_id(section.grouping.grouped_by, locations[location], address, *place)
    return ids


def _item_columns(state: State, sections: Sequence[Section]) -> dict[str, Any]:
    """One column per kind, null in the sections of the others."""
    code = {
        kind: np.concatenate([s.ranking.item if s.grouping.kind is kind else np.full(len(s.ranking.item), -1) for s in sections])
        for kind in RANKED
    }
    hosts, host = np.unique(np.maximum(code[Kind.HOST], 0), return_inverse=True)
    location = _place_columns(state.names, sections)[0]
    return {
        "application": _texts(code[Kind.APPLICATION] - 1, state.names.applications),
        "host_address": _texts(np.where(code[Kind.HOST] > 0, host, -1), _address_texts(state.names, hosts)),
        "conversation_key": _conversations(state, code[Kind.CONVERSATION], location),
        "item": _values(state.names, sections),
    }


def _values(names: Names, sections: Sequence[Section]) -> Any:
    """Items of the other kinds, null in the sections of the fixed ones."""
    by_key = {kind.key: kind for kind in names.values}
    texts: list[str] = []
    codes = []
    for section in sections:
        item, kind = section.ranking.item, section.grouping.kind
        place = np.full(len(item), -1)
        if isinstance(kind, Values):
            distinct, place[item > 0] = np.unique(item[item > 0], return_inverse=True)
            place[item > 0] += len(texts)
            texts += by_key[kind.key].texts(distinct)
        codes.append(place)
    return _texts(np.concatenate(codes), texts)


def _conversations(state: State, item: Ints, location: Ints) -> Any:
    """Keys as numbers.md section 6 writes them; `location` is that of the group, which the item need not repeat."""
    listed = np.flatnonzero(item >= 0)
    service, lower, upper = state.conversations.decode(item[listed])
    own, application, protocol = state.names.services[service].T
    codes, code = np.unique(np.concatenate([lower, upper]), return_inverse=True)
    text = [address or None for address in _address_texts(state.names, codes)]
    locations, applications = (None, *state.names.locations), (None, *state.names.applications)
    keys = [
        _JSON.encode([locations[where], number - 1 if number else None, text[low], text[high], applications[what]])
        for where, number, low, high, what in zip(
            *(each.tolist() for each in (np.maximum(own, location[listed]), protocol, *code.reshape(2, -1), application)),
            strict=True,
        )
    ]
    position = np.full(len(item), -1)
    position[listed] = np.arange(len(listed))
    return _texts(position, keys)


def _address_texts(names: Names, code: Ints) -> list[str]:
    """Addresses as text; code 0 is empty."""
    octets = np.take(names.addresses, code[code > 0] - 1, axis=0).astype(">u8").tobytes()
    texts = iter([format_address(octets[i : i + 16]) for i in range(0, len(octets), 16)])
    return [next(texts) if number else "" for number in code.tolist()]


def _texts(code: Ints, texts: Sequence[str]) -> Any:
    """A dictionary column; negative codes are null."""
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32), mask=code < 0), pa.array(texts, pa.string()))
