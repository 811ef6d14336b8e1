"""What exporters say about themselves in options data: samplers, timeouts, boot time, names.

In: option records, as octets per element. Out: per observation domain a `Facts` table, and the `SamplingView` that holds for the
flows of a domain. Refuses to know packets and templates. Every table is bounded; what does not fit is refused and counted.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeVar

from flowpb.schema import SamplingSource
from ingest.elements import SCOPE_PEN

TABLE_LIMIT: Final = 16_384
"""Entries of one table of one domain."""
_LONG_OCTETS: Final = 8
_ENTRY_OCTETS: Final = 256
_TEXT_OCTETS: Final = 255
_ID_OCTETS: Final = 64
_LONGEST_S: Final = 31_536_000
_LAST_ALGORITHM: Final = 255

_K = TypeVar("_K")
_V = TypeVar("_V")

Key = tuple[int, int]
Values = dict[Key, bytes]
"""Octets by (enterprise, element id) of one option record; the first of elements that come twice."""

_SCOPE_INTERFACE: Final = (SCOPE_PEN, 2)
_INTERFACE: Final = (_SCOPE_INTERFACE, (0, 10), (0, 14))
_SAMPLER_ID: Final = ((0, 48), (0, 302))
LEAST_PROBABILITY: Final = 2.0**-32
"""No sampler takes fewer packets than this."""
_EXPORTER: Final = ((0, 130), (0, 131))
_HASH_RANGES: Final = (329, 330, 331, 332)
"""Lowest and highest value of a hash, and those between which packets are selected (RFC 5477 section 8.3)."""
_MODE: Final = {1: 1, 2: 3}
"""samplingAlgorithm (35) and samplerMode (49) as selectorAlgorithm (304): 1 systematic count-based, 2 random n out of N."""


class Sampler(NamedTuple):
    """One packet in `interval` is looked at; `algorithm` as element 304, 0 when not said."""

    interval: float
    algorithm: int


class Fact(NamedTuple):
    """Name and description of an interface, application or VRF."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class SamplingView:
    """What holds for flows that do not carry their own sampling: by sampler id, input interface or exporter (4 or 16 octets of
    elements 130 and 131), else the default; names of applications.

    A flow that names a sampler which nobody described gets `unknown_id`, one that names none gets `default`.
    """

    default: Sampler | None
    unknown_id: Sampler | None
    source: SamplingSource
    by_id: dict[int, Sampler]
    by_interface: dict[int, Sampler]
    by_exporter: dict[bytes, Sampler]
    applications: dict[bytes, Fact]


@dataclass(slots=True)
class Facts:
    """The options tables of one observation domain."""

    default: Sampler | None = None
    by_id: dict[int, Sampler] = field(default_factory=dict)
    by_interface: dict[int, Sampler] = field(default_factory=dict)
    by_exporter: dict[bytes, Sampler] = field(default_factory=dict)
    active_timeout_s: int | None = None
    inactive_timeout_s: int | None = None
    boot_ms: int | None = None
    interfaces: dict[int, Fact] = field(default_factory=dict)
    applications: dict[bytes, Fact] = field(default_factory=dict)
    vrfs: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how many octets the tables take."""
        return _ENTRY_OCTETS * (self.samplers + len(self.interfaces) + len(self.applications) + len(self.vrfs))

    @property
    def describe_flows(self) -> bool:
        """Whether there is anything that a SamplingView is made of."""
        return bool(self.default or self.by_id or self.by_interface or self.by_exporter or self.applications)

    @property
    def samplers(self) -> int:
        """Samplers in the tables, without the default."""
        return len(self.by_id) + len(self.by_interface) + len(self.by_exporter)

    def learn(self, values: Values, scope: frozenset[Key], may_grow: bool = True) -> bool:
        """Take one option record in; False if a table was full, or would have had to grow.

        An exporter in its `scope` is one of several that it may speak of, else the one that is behind the domain.
        """
        limit = TABLE_LIMIT if may_grow else 0
        self._learn_times(values)
        exporter = exporter_of(values)
        is_one_of_many = bool(exporter) and not scope.isdisjoint(_EXPORTER)
        if exporter and not is_one_of_many:
            self.names["exporter"] = str(ip_address(exporter))
        return self._learn_sampler(values, exporter if is_one_of_many else b"", limit) and self._learn_names(values, limit)

    def _learn_times(self, values: Values) -> None:
        self.active_timeout_s = min(number(values, (0, 36)), _LONGEST_S) or self.active_timeout_s
        self.inactive_timeout_s = min(number(values, (0, 37)), _LONGEST_S) or self.inactive_timeout_s
        self.boot_ms = number(values, (0, 160)) or self.boot_ms

    def _learn_sampler(self, values: Values, exporter: bytes, limit: int) -> bool:
        sampler = read_sampler(values)
        if sampler is None:
            return True
        identity = next((values[key] for key in _SAMPLER_ID if key in values), None)
        interface = next((values[key] for key in _INTERFACE if key in values), None)
        if identity is not None:
            return _put(self.by_id, int.from_bytes(identity[-_LONG_OCTETS:]), sampler, limit)
        if interface is not None:
            return _put(self.by_interface, int.from_bytes(interface[-_LONG_OCTETS:]), sampler, limit)
        if exporter:
            return _put(self.by_exporter, exporter, sampler, limit)
        self.default = sampler
        return True

    def _learn_names(self, values: Values, limit: int) -> bool:
        fits = True
        interface = next((values[key] for key in _INTERFACE if key in values), None)
        if interface is not None and ((0, 82) in values or (0, 83) in values):
            fact = Fact(text(values, (0, 82)), text(values, (0, 83)))
            fits &= _put(self.interfaces, int.from_bytes(interface[-_LONG_OCTETS:]), fact, limit)
        if (0, 95) in values and ((0, 96) in values or (0, 94) in values):
            fact = Fact(text(values, (0, 96)), text(values, (0, 94)))
            fits &= _put(self.applications, values[0, 95][:_ID_OCTETS], fact, limit)
        if (0, 236) in values:
            for key in ((0, 234), (0, 235)):
                if key in values:
                    fits &= _put(self.vrfs, number(values, key), text(values, (0, 236)), limit)
        if (0, 300) in values:
            self.names["observation_domain"] = text(values, (0, 300))
        return fits


def exporter_of(values: Values) -> bytes:
    """The exporter that a record speaks of (elements 130 and 131), 4 or 16 octets; empty if of none."""
    for key in _EXPORTER:
        octets = values.get(key, b"")
        if len(octets) in (4, 16) and any(octets):
            return octets
    return b""


def read_sampler(values: Values) -> Sampler | None:
    """The sampler that a record describes (elements 34/35, 48-50, 304-311, 329-332), or None if it has no usable interval."""
    selector = number(values, (0, 304))
    algorithm = selector if 0 < selector <= _LAST_ALGORITHM else _MODE.get(number(values, (0, 35)) or number(values, (0, 49)), 0)
    interval = float(number(values, (0, 34)) or number(values, (0, 50)))
    for part, rest in ((305, 306), (307, 308)):
        if not interval and (taken := number(values, (0, part))):
            interval = (taken + number(values, (0, rest))) / taken
    if not interval and (size := number(values, (0, 309))):
        interval = number(values, (0, 310)) / size
    if not interval and len(values.get((0, 311), b"")) == 8:
        (probability,) = struct.unpack(">d", values[0, 311])
        interval = 1 / probability if LEAST_PROBABILITY <= probability <= 1 else 0.0
    if not interval and all((0, element) in values for element in _HASH_RANGES):
        low, high, chosen_low, chosen_high = (number(values, (0, element)) for element in _HASH_RANGES)
        interval = (high - low + 1) / (chosen_high - chosen_low + 1) if low <= chosen_low <= chosen_high <= high else 0.0
    return Sampler(interval, algorithm) if interval >= 1 else None


def make_view(own: Facts, others: Iterable[Facts], config: int | None) -> SamplingView:
    """Sampling of a domain: its own tables, then what the exporter's other domains agree on, then the operator's default."""
    by_id: dict[int, Sampler] = {}
    by_exporter: dict[bytes, Sampler] = {}
    defaults = set()
    applications = own.applications
    for facts in others:
        applications = applications or facts.applications
        by_id.update(facts.by_id)
        by_exporter.update(facts.by_exporter)
        defaults.add(facts.default)
    by_id.update(own.by_id)
    by_exporter.update(own.by_exporter)
    default, source = own.default or _of_exporter(by_exporter, own.names.get("exporter")), SamplingSource.OPTIONS
    agreed = defaults - {None}
    if default is None and len(agreed) == 1:
        (default,) = agreed
    configured = None if config is None else Sampler(float(config), 0)
    unknown_id = default or configured
    if default is None and len(set(by_id.values())) == 1 and not own.by_interface:
        default = next(iter(by_id.values()))
    if default is None:
        default, source = configured, SamplingSource.CONFIG if configured else SamplingSource.NONE
    return SamplingView(default, unknown_id, source, by_id, dict(own.by_interface), by_exporter, applications)


def _of_exporter(by_exporter: dict[bytes, Sampler], announced: str | None) -> Sampler | None:
    """The sampler of the exporter that a domain announced, or the one that all have."""
    if announced is not None and (found := by_exporter.get(ip_address(announced).packed)) is not None:
        return found
    distinct = set(by_exporter.values())
    return distinct.pop() if len(distinct) == 1 else None


def number(values: Values, key: Key) -> int:
    """An element as an unsigned integer of any size (RFC 7011 section 6.2), of longer ones the low octets; 0 if it is missing."""
    return int.from_bytes(values.get(key, b"")[-_LONG_OCTETS:])


def text(values: Values, key: Key) -> str:
    """An element as text: UTF-8, at most 255 octets, without the NUL and blank padding of fixed-length names."""
    return values.get(key, b"")[:_TEXT_OCTETS].split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _put(table: dict[_K, _V], key: _K, value: _V, limit: int) -> bool:
    if len(table) >= limit and key not in table:
        return False
    table[key] = value
    return True
