"""What the operator says about exporters by network: location, identity, and what overrides or completes their flows.

In: the settings. Out: the rule of an exporter, and flows with the rules applied, whole columns at a time. Pure. Of several networks
that match, the longest prefix that gives a value wins, value by value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from common.addresses import pack_address
from common.config import ExporterSettings, Ingest
from flowpb.schema import INGEST_SCHEMA, Direction, SamplingSource
from ingest.egress_metering import EgressMetering
from ingest.listeners.sources import Identify, Network, admit_networks

PLAIN: Final = "plain"
AUTO: Final = "auto"
SOURCE: Final = "source"
AGENT: Final = "agent_address"
ANNOUNCED: Final = "exporter_address"
_KNOWN: Final = 1 << 14
_DIRECTIONS: Final = {"ingress": Direction.INGRESS, "egress": Direction.EGRESS}
_PLACE: Final = {name: place for place, name in enumerate(INGEST_SCHEMA.names)}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """Everything that is set for one exporter; None: nothing is."""

    location: str
    name: str = ""
    address: bytes | None = None
    sampling_interval: int | None = None
    sampling_fallback: int | None = None
    active_timeout_s: int | None = None
    direction: Direction | None = None
    clock_correction_ms: int | None = None
    inactive_timeout_s: int | None = None
    accounting: str = PLAIN
    identity: str = SOURCE

    @property
    def changes_flows(self) -> bool:
        """Whether flows have to be touched, beyond their location."""
        values = (self.sampling_interval, self.sampling_fallback, self.active_timeout_s, self.direction, self.clock_correction_ms)
        return self.accounting != PLAIN or any(value is not None for value in values)


class ExporterRules:
    """All rules of the settings, looked up once per exporter; those of `former` give what has been seen of egress metering."""

    def __init__(self, settings: Ingest, former: "ExporterRules | None" = None) -> None:
        self._egress: EgressMetering = former._egress if former else EgressMetering()
        self.identities = {entry.identity for entry in settings.exporter_settings} - {None, SOURCE}
        self._location = settings.location
        entries = [(Network(text), entry) for entry in settings.exporter_settings for text in entry.networks]
        self._entries = sorted(entries, key=lambda each: -each[0].bits)
        self.of: Callable[[bytes], Rule] = lru_cache(_KNOWN)(self._resolve)

    def location_of(self, exporter: bytes) -> str:
        """Location of an exporter's flows."""
        return self.of(exporter).location

    def identity_of(self, source: bytes) -> bytes:
        """The exporter that a source counts as."""
        return self.of(source).address or source

    def apply(self, flows: pa.RecordBatch) -> pa.RecordBatch:
        """The same flows with location, and with what the rules set."""
        exporters = flows.column("exporter_addr")
        rules = [self.of(address) for address in exporters.dictionary.to_pylist()]
        flows = with_location(flows, [rule.location for rule in rules])
        codes: NDArray[np.int32] | None = None
        for rule in {rule for rule in rules if rule.changes_flows}:
            codes = exporters.indices.to_numpy(zero_copy_only=False) if codes is None else codes
            mask = np.isin(codes, [code for code, each in enumerate(rules) if each == rule])
            flows = _apply_one(flows, rule, mask)
            if rule.accounting != PLAIN:
                flows = self._count_both_sides(flows, mask, rule.accounting == AUTO)
        return flows

    def _count_both_sides(self, flows: pa.RecordBatch, mask: Mask, unless_metered: bool) -> pa.RecordBatch:
        """Ingress flows become flows of unknown direction, which count at both of their interfaces."""
        direction = pc.fill_null(_column(flows, "direction"), int(Direction.UNKNOWN)).to_numpy(zero_copy_only=False)
        chosen = mask & (direction == Direction.INGRESS)
        if unless_metered:
            interfaces = pc.fill_null(_column(flows, "out_if"), 0).to_numpy(zero_copy_only=False)
            chosen &= ~self._egress.metered(flows.column("exporter_addr"), interfaces, mask & (direction == Direction.EGRESS))
        return _set(flows, "direction", int(Direction.UNKNOWN), chosen)

    def _resolve(self, exporter: bytes) -> Rule:
        matching = [entry for network, entry in self._entries if exporter in network]
        location = next((entry.location for entry in matching if entry.location is not None), self._location)
        address = next((entry.address for entry in matching if entry.address is not None), None)
        direction = next((entry.direction for entry in matching if entry.direction is not None), None)
        return Rule(
            location,
            next((entry.name for entry in matching if entry.name), ""),
            pack_address(address) if address else None,
            _first(matching, lambda entry: entry.sampling_interval),
            _first(matching, lambda entry: entry.sampling_fallback),
            _first(matching, lambda entry: entry.active_timeout_s),
            _DIRECTIONS[direction] if direction else None,
            _first(matching, lambda entry: entry.clock_correction_ms),
            _first(matching, lambda entry: entry.inactive_timeout_s),
            next((entry.interface_accounting for entry in matching if entry.interface_accounting is not None), PLAIN),
            next((entry.identity for entry in matching if entry.identity is not None), SOURCE),
        )


def identify_by(settings: Ingest, rules: ExporterRules) -> Identify:
    """The exporter of a source by the settings, None where its network is not allowed."""
    admit = admit_networks(settings.allowed_networks)
    return lambda source: rules.identity_of(source) if admit(source) else None


def with_location(flows: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """The same flows with `location`; `names` has one for each entry of the exporters' dictionary."""
    distinct = sorted(set(names))
    if len(distinct) == 1:
        indices = np.zeros(flows.num_rows, dtype=np.int32)
    else:
        codes = np.array([distinct.index(name) for name in names], dtype=np.int32)
        indices = codes[flows.column("exporter_addr").indices.to_numpy(zero_copy_only=False)]
    return _put(flows, "location", pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(distinct, pa.string())))


def _first(entries: list[ExporterSettings], value_of: Callable[[ExporterSettings], int | None]) -> int | None:
    return next((value for entry in entries if (value := value_of(entry)) is not None), None)


def _apply_one(flows: pa.RecordBatch, rule: Rule, mask: Mask) -> pa.RecordBatch:
    if rule.sampling_interval is not None:
        flows = _set_sampling(flows, rule.sampling_interval, mask)
    elif rule.sampling_fallback is not None:
        unknown = _column(flows, "sampling_interval").is_null().to_numpy(zero_copy_only=False)
        flows = _set_sampling(flows, rule.sampling_fallback, mask & unknown)
    if rule.direction is not None:
        unsaid = pc.fill_null(_column(flows, "direction"), int(Direction.UNKNOWN)).to_numpy(zero_copy_only=False)
        flows = _set(flows, "direction", int(rule.direction), mask & (unsaid == Direction.UNKNOWN))
    if rule.clock_correction_ms is not None:
        flows = _set(flows, "clock_correction_ms", rule.clock_correction_ms, mask)
    if rule.active_timeout_s is not None:
        last = _column(flows, "last_switched_ms").to_numpy(zero_copy_only=False)
        delta = _column(flows, "delta_switched_ms").to_numpy(zero_copy_only=False)
        cut = np.where(mask, np.maximum(delta, last - rule.active_timeout_s * 1000), delta)
        flows = _put(flows, "delta_switched_ms", pa.array(cut, pa.int64()))
    return flows


def _set_sampling(flows: pa.RecordBatch, interval: int, mask: Mask) -> pa.RecordBatch:
    flows = _set(flows, "sampling_interval", float(interval), mask)
    return _set(flows, "sampling_source", int(SamplingSource.CONFIG), mask)


def _set(flows: pa.RecordBatch, name: str, value: float, mask: Mask) -> pa.RecordBatch:
    column = _column(flows, name)
    return _put(flows, name, pc.if_else(pa.array(mask), pa.scalar(value, column.type), column))


def _column(flows: pa.RecordBatch, name: str) -> pa.Array:
    if name in flows.schema.names:
        return flows.column(name)
    return pa.nulls(flows.num_rows, INGEST_SCHEMA.field(name).type)


def _put(flows: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """With this column, at its place in the order of FLOW."""
    present = flows.schema.names
    place = sum(_PLACE[each] < _PLACE[name] for each in present)
    return flows.set_column(place, name, column) if name in present else flows.add_column(place, name, column)
