"""Rules that ask for addresses, for both ports or for the exporter, compiled for look-ups of many flows at once.

In: conditions, best first. Out: per flow the first condition that fits. Refuses to know names and ranks of rules.

Each dimension is cut into classes; a flow is a tuple of classes, and what fits it is the intersection of one set of conditions per
dimension, 64 conditions to a word. The answer is kept in a memo by tuple. Two integers hold a tuple exactly: one for protocol and
ports, one for addresses and exporter.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.arrays import Ints
from columns.ranges import RangeTable, halves, table_of_intervals
from columns.rules.classes import Classes, Intervals, cut, unconditional
from columns.rules.exporters import Exporter
from columns.rules.memo import Memo
from columns.rules.model import Conditions
from columns.rules.ports import NO_PORT, PORTS, PROTOCOLS
from columns.rules.spans import LAST_ADDRESS, LAST_PORT, Spans

NONE: Final = -1
_CHUNK: Final = 8_192
_MOST_EXPORTERS: Final = 65_536

Bits = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class AddressColumn:
    """A column of addresses: per flow the place among the distinct ones, or one past their end for null."""

    distinct: pa.FixedSizeBinaryArray
    places: NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class FlowColumns:
    """What rules ask of flows; nulls as in `columns.rules.ports`; `exporters` are classes from `TupleTable.exporter_class`."""

    protocol: NDArray[np.integer]
    src_port: NDArray[np.integer]
    dst_port: NDArray[np.integer]
    src_addr: AddressColumn
    dst_addr: AddressColumn
    exporters: NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class _Dimension:
    """Class of each value, and per class the conditions that accept it."""

    classes: Ints
    bits: Bits


@dataclass(frozen=True, slots=True)
class _AddressDimension:
    table: RangeTable
    null_class: int
    bits: Bits

    def classes(self, column: AddressColumn) -> Ints:
        """Class of each distinct address, and of null."""
        return np.append(self.table.look_up(halves(column.distinct)), self.null_class).astype(np.int64)


@dataclass(slots=True)
class TupleTable:
    """Conditions compiled; build with `build_tuple_table`. For any number of threads, one at a time."""

    conditions: tuple[Conditions, ...]
    protocol: _Dimension
    src_port: _Dimension
    dst_port: _Dimension
    src_addr: _AddressDimension
    dst_addr: _AddressDimension
    asks_exporter: bool
    exporters: Classes
    seen: dict[Exporter, int] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def exporter_class(self, exporter: Exporter) -> int:
        """Class of an exporter: which filters it fits. 0 is the class of one that is not known at all."""
        known = self.seen.get(exporter)
        if known is not None:
            return known
        asked = (conditions.exporter for conditions in self.conditions)
        signature = sum(1 << bit for bit, each in enumerate(asked) if each is None or each.fits(exporter))
        with self.lock:
            if len(self.seen) >= _MOST_EXPORTERS:
                self.seen.clear()
            return self.seen.setdefault(exporter, self.exporters.number(signature))

    def look_up(self, flows: FlowColumns) -> NDArray[np.int32]:
        """Number of the first condition that fits each flow, NONE if there is none."""
        ports = self._port_keys(flows)
        ends = self._end_keys(flows)
        found = np.empty(len(ports), np.int32)
        with self.lock:
            for start in range(0, len(ports), _CHUNK):
                part = slice(start, start + _CHUNK)
                found[part] = self._answers(ports[part], ends[part])
        return found

    def _port_keys(self, flows: FlowColumns) -> Ints:
        stride = len(self.protocol.bits)
        keys: Ints = self.protocol.classes[flows.protocol]
        keys += (self.src_port.classes * stride)[flows.src_port]
        keys += (self.dst_port.classes * (stride * len(self.src_port.bits)))[flows.dst_port]
        return keys

    def _end_keys(self, flows: FlowColumns) -> Ints:
        stride = len(self.src_addr.bits)
        keys: Ints = self.src_addr.classes(flows.src_addr)[flows.src_addr.places]
        keys += (self.dst_addr.classes(flows.dst_addr) * stride)[flows.dst_addr.places]
        keys += flows.exporters * (stride * len(self.dst_addr.bits))
        return keys

    def _answers(self, ports: Ints, ends: Ints) -> NDArray[np.int32]:
        found, known = self.memo.get(ports, ends)
        missing = np.flatnonzero(~known)
        if len(missing):
            found[missing] = self._intersect(ports[missing], ends[missing])
            self.memo.put(ports[missing], ends[missing], found[missing])
        return found

    def _intersect(self, ports: Ints, ends: Ints) -> NDArray[np.int32]:
        rest, protocol = np.divmod(ports, len(self.protocol.bits))
        dst_port, src_port = np.divmod(rest, len(self.src_port.bits))
        rest, src_addr = np.divmod(ends, len(self.src_addr.bits))
        exporter, dst_addr = np.divmod(rest, len(self.dst_addr.bits))
        fits = self.protocol.bits[protocol]
        fits &= self.src_port.bits[src_port]
        fits &= self.dst_port.bits[dst_port]
        fits &= self.src_addr.bits[src_addr]
        fits &= self.dst_addr.bits[dst_addr]
        fits &= self.exporters.bits(len(self.conditions))[exporter]
        return _first_bit(fits)


def build_tuple_table(conditions: Iterable[Conditions]) -> TupleTable:
    """The table of these conditions, the best first."""
    ordered = tuple(conditions)
    filters = [each.exporter for each in ordered]
    return TupleTable(
        ordered,
        _protocols([each.protocols for each in ordered]),
        _ports([each.src_ports for each in ordered]),
        _ports([each.dst_ports for each in ordered]),
        _addresses([each.src_addresses for each in ordered]),
        _addresses([each.dst_addresses for each in ordered]),
        any(filters),
        Classes({unconditional(filters): 0}),
    )


def _protocols(accepted: Sequence[frozenset[int] | None]) -> _Dimension:
    classes = Classes()
    signatures = [unconditional(accepted)] * PROTOCOLS
    for bit, protocols in enumerate(accepted):
        for protocol in protocols or ():
            signatures[protocol] |= 1 << bit
    return _Dimension(np.array([classes.number(each) for each in signatures], np.int64), classes.bits(len(accepted)))


def _ports(accepted: Sequence[Spans | None]) -> _Dimension:
    classes = Classes()
    intervals = cut(accepted, LAST_PORT, classes)
    of_port = np.empty(PORTS, np.int64)
    lengths = np.diff([*intervals.starts, LAST_PORT + 1])
    of_port[:NO_PORT] = np.repeat(intervals.classes, lengths)
    of_port[NO_PORT] = intervals.null_class
    return _Dimension(of_port, classes.bits(len(accepted)))


def _addresses(accepted: Sequence[Spans | None]) -> _AddressDimension:
    classes = Classes()
    intervals: Intervals = cut(accepted, LAST_ADDRESS, classes)
    table = table_of_intervals(intervals.starts, intervals.classes)
    return _AddressDimension(table, intervals.null_class, classes.bits(len(accepted)))


def _first_bit(words: Bits) -> NDArray[np.int32]:
    """Place of the lowest bit that is set in each row, NONE where there is none."""
    place = (words != 0).argmax(axis=1)
    word = words[np.arange(len(words)), place]
    lowest = np.bitwise_count((word & (~word + np.uint64(1))) - np.uint64(1))
    return np.where(word != 0, place * 64 + lowest, NONE).astype(np.int32)
