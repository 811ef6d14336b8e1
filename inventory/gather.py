"""Ask all sources, remember what each said last, and put the snapshot in place.

In: settings of the inventory. Out: a new snapshot if anything changed, and how each source fares. A source that fails keeps its
last good answer, over a restart too; a broken label file or database keeps the one before it. Refuses to know flows.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from columns.snapshot import open_snapshot
from common.clock import Clock, wall_clock
from common.errors import ConfigError, InputError, NephriteError, StoreError
from inventory.compile import Content, compile_content
from inventory.labels import NO_LABELS, Labels, read_labels
from inventory.maxmind import NO_COUNTRIES, NO_SYSTEMS, Located, System, read_countries, read_systems
from inventory.model import Gathered, Interface, Node, Vrf, merge
from inventory.settings import InventorySettings
from inventory.sides import SidePatterns

_MOST_PROBLEMS: Final = 20
T = TypeVar("T")


class _NoNodesError(InputError):
    """A network does not vanish, but credentials do: services answer who may see nothing with an empty list."""


class NodeSource(Protocol):
    """Something that knows nodes."""

    def gather(self) -> Gathered:
        """All its nodes; raises a NephriteError if it cannot tell them."""


@runtime_checkable
class Recalling(Protocol):
    """A source whose parts fail on their own, so that it has use for its former answer after a restart."""

    def recall(self, nodes: Sequence[Node]) -> None:
        """Take the former answer."""


@runtime_checkable
class Following(Protocol):
    """A source that asks devices which other sources know."""

    def follow(self, nodes: Sequence[Node]) -> None:
        """Take the nodes of the sources before it."""


@dataclass(slots=True)
class SourceState:
    """How one source fares. `good_ms` is when it last answered, 0 never."""

    name: str
    nodes: tuple[Node, ...] = ()
    good_ms: int = 0
    problems: tuple[str, ...] = ()
    failed: bool = False
    failures: int = 0

    def age_s(self, now_ms: int) -> float | None:
        """Seconds since it last answered, None if it never did."""
        return (now_ms - self.good_ms) / 1000 if self.good_ms else None


@dataclass(slots=True)
class Gatherer:
    """Sources with their last good answers. `version` is that of the snapshot in place."""

    settings: InventorySettings
    folder: Path
    sources: Sequence[tuple[str, NodeSource]]
    clock: Clock = wall_clock
    states: dict[str, SourceState] = field(default_factory=dict)
    labels: Labels = NO_LABELS
    systems: Located[System] = NO_SYSTEMS
    countries: Located[str] = NO_COUNTRIES
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)
    version: str = ""

    def refresh(self) -> bool:
        """Ask every source; whether there is a new snapshot. Their faults are in `states`; raises StoreError for the disk's."""
        before: list[tuple[Node, ...]] = []
        for name, source in self.sources:
            if isinstance(source, Following):
                source.follow(merge(before))
            self._ask(name, source)
            before.append(self.states[name].nodes)
        self.labels = self._file("labels", self.settings.labels, read_labels, self.labels)
        self.systems = self._file("as_database", self.settings.as_database, read_systems, self.systems)
        self.countries = self._file("country_database", self.settings.country_database, read_countries, self.countries)
        patterns = SidePatterns(self.settings.external_interfaces, self.settings.internal_interfaces)
        nodes = patterns.apply(merge(self.states[name].nodes for name, _ in self.sources))
        compiled = compile_content(Content(nodes, self.labels, self.systems, self.countries))
        path = self.folder / self.settings.snapshot
        self.version = self.version or _version_of(path)
        if compiled.version == self.version and path.exists():
            return False
        try:
            compiled.write(path, self.clock())
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error}") from error
        self.version = compiled.version
        return True

    def _ask(self, name: str, source: NodeSource) -> None:
        if name not in self.states:
            self.states[name] = self._remembered(name)
            if isinstance(source, Recalling):
                source.recall(self.states[name].nodes)
        state = self.states[name]
        try:
            gathered = source.gather()
            if state.nodes and not gathered.nodes:
                raise _NoNodesError(f"{name}: answer has no nodes, the last one had {len(state.nodes)}: it stays")
        except NephriteError as error:
            state.failed, state.failures, state.problems = True, state.failures + 1, tuple(str(error).splitlines())
            return
        state.failed = False
        state.problems = tuple(str(problem) for problem in gathered.problems[:_MOST_PROBLEMS])
        state.nodes, state.good_ms = gathered.nodes, self.clock()
        try:
            self._remember(state)
        except OSError as error:
            state.problems = (*state.problems, f"{state.name}: its answer cannot be kept for a restart: {error}")

    def _file(self, name: str, relative: str, read: Callable[[Path], T], former: T) -> T:
        """What a file says, read again only when it changed; the former content where it cannot be read."""
        if not relative:
            return former
        path = self.folder / relative
        state = self.states.setdefault(name, SourceState(name))
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if self.stamps.get(name) == stamp:
                return former
            self.stamps[name] = stamp
            content = read(path)
        except (OSError, NephriteError) as error:
            state.failed, state.failures, state.problems = True, state.failures + 1, tuple(str(error).splitlines())
            return former
        state.failed, state.problems, state.good_ms = False, (), self.clock()
        return content

    def _remembered(self, name: str) -> SourceState:
        try:
            saved: Any = json.loads(self._state_path(name).read_text(encoding="utf-8"))
            nodes = tuple(_node(record) for record in saved["nodes"])
            return SourceState(name, nodes, int(saved["good_ms"]))
        except FileNotFoundError:
            return SourceState(name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return SourceState(name, problems=(f"{name}: its last answer cannot be read again: {error}",))

    def _remember(self, state: SourceState) -> None:
        path = self._state_path(state.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        saved = {"good_ms": state.good_ms, "nodes": [asdict(node) for node in state.nodes]}
        temporary.write_text(json.dumps(saved), encoding="utf-8")
        temporary.replace(path)

    def _state_path(self, name: str) -> Path:
        safe = "".join(character if character.isalnum() else "_" for character in name)
        return self.folder / self.settings.state / f"{safe}.json"


def _version_of(path: Path) -> str:
    """The version of the snapshot in place, empty if there is none that can be used."""
    try:
        return open_snapshot(path).version
    except ConfigError:
        return ""


def _node(record: Any) -> Node:
    interfaces = tuple(Interface(**each) for each in record.pop("interfaces"))
    vrfs = tuple(Vrf(**each) for each in record.pop("vrfs", ()))
    categories, addresses = tuple(record.pop("categories")), tuple(record.pop("addresses"))
    return Node(**record, categories=categories, addresses=addresses, interfaces=interfaces, vrfs=vrfs)
