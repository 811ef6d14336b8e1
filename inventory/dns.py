"""Names of addresses by reverse DNS, beside the flows: what is not known yet is null now and known later.

In: the distinct addresses of batches. Out: names from a cache, at once; unknown addresses are asked in threads of their own.
Bounded in what it keeps and in what waits; names are kept for their TTL within limits, failures for a time of their own. Refuses to
know why.
"""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Final

import dns.exception
import dns.nameserver
import dns.resolver
import dns.reversename
import numpy as np
import pyarrow as pa

from columns.dictionaries import as_text, places
from common.addresses import format_address
from common.errors import ConfigError
from flowpb.schema import TEXT
from inventory.model import is_address

_PORT: Final = 53
_ENDS: Final = ("src", "dst")
Lookup = Callable[[bytes], tuple[str | None, float]]
"""Name of an address (16 bytes) and its TTL in seconds; None for no name. Raises dns.exception.DNSException."""


@dataclass(frozen=True, slots=True)
class ReverseDns:
    """How to ask: travels to workers; the resolver is made there at first use, one per process."""

    servers: tuple[str, ...] = ()
    timeout_s: float = 2.0
    threads: int = 8
    most_names: int = 200_000
    most_waiting: int = 20_000
    shortest_s: float = 60.0
    longest_s: float = 86_400.0
    failed_s: float = 600.0

    def columns(self, flows: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """src_hostname and dst_hostname as far as they are known; a column is left out where no name is."""
        resolver = process_resolver(self)
        found = {f"{end}_hostname": _column(flows, f"{end}_addr", resolver) for end in _ENDS}
        return {name: column for name, column in found.items() if column is not None}

    def take_counts(self) -> Mapping[str, int]:
        """What became of addresses in this process since the last call, by the fields of `Counts`."""
        return asdict(process_resolver(self).take_counts())


@dataclass(slots=True)
class Counts:
    """What became of addresses: each is answered, unknown yet, refused (too many wait), found, nameless, or failed."""

    answered: int = 0
    unknown: int = 0
    refused: int = 0
    found: int = 0
    nameless: int = 0
    failed: int = 0


@dataclass(slots=True)
class Resolver:
    """The cache of a process and the threads that fill it."""

    settings: ReverseDns
    look_up: Lookup
    clock: Callable[[], float] = time.monotonic
    counts: Counts = field(default_factory=Counts)
    names: OrderedDict[bytes, tuple[str | None, float]] = field(default_factory=OrderedDict)
    waiting: set[bytes] = field(default_factory=set)
    queue: "queue.SimpleQueue[bytes | None]" = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    workers: list[threading.Thread] = field(default_factory=list)

    def known(self, addresses: Sequence[bytes]) -> list[str | None]:
        """Names that are known now; the others are asked for, and their former names serve meanwhile."""
        now = self.clock()
        found: list[str | None] = []
        with self.lock:
            for address in addresses:
                name, until = self.names.get(address, (None, 0.0))
                found.append(name)
                if until > now:
                    self.counts.answered += 1
                else:
                    self._ask(address)
        return found

    def take_counts(self) -> Counts:
        """The counts since the last call."""
        with self.lock:
            taken, self.counts = self.counts, Counts()
        return taken

    def run(self) -> None:
        """Ask for what waits until `stop`; the body of each worker."""
        while (address := self.queue.get()) is not None:
            self.resolve(address)

    def resolve(self, address: bytes) -> None:
        """Ask for one address and keep the answer, also that there is none."""
        try:
            name, ttl = self.look_up(address)
            kept = min(max(ttl, self.settings.shortest_s), self.settings.longest_s)
            outcome = "nameless" if name is None else "found"
        except dns.exception.DNSException:
            name, kept, outcome = None, self.settings.failed_s, "failed"
        with self.lock:
            if outcome == "failed" and address in self.names:
                name = self.names[address][0]
            setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
            self.names[address] = (name, self.clock() + kept)
            self.names.move_to_end(address)
            self.waiting.discard(address)
            while len(self.names) > self.settings.most_names:
                self.names.popitem(last=False)

    def start(self) -> None:
        """Start the workers, which end with the process."""
        self.workers = [threading.Thread(target=self.run, name="dns", daemon=True) for _ in range(self.settings.threads)]
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """End the workers once the queue is empty."""
        for _ in self.workers:
            self.queue.put(None)
        for worker in self.workers:
            worker.join()

    def _ask(self, address: bytes) -> None:
        if address in self.waiting:
            self.counts.unknown += 1
        elif len(self.waiting) >= self.settings.most_waiting:
            self.counts.refused += 1
        else:
            self.counts.unknown += 1
            self.waiting.add(address)
            self.queue.put(address)


@lru_cache(maxsize=4)
def process_resolver(settings: ReverseDns) -> Resolver:
    """The resolver of this process, at work."""
    resolver = Resolver(settings, dns_lookup(settings))
    resolver.start()
    return resolver


def dns_lookup(settings: ReverseDns) -> Lookup:
    """Looks names up in the DNS; raises ConfigError for servers that are no addresses."""
    resolver = dns.resolver.Resolver(configure=not settings.servers)
    if settings.servers:
        resolver.nameservers = [_server(text) for text in settings.servers]
    resolver.lifetime = resolver.timeout = settings.timeout_s

    def look_up(address: bytes) -> tuple[str | None, float]:
        name = dns.reversename.from_address(format_address(address))
        try:
            answer = resolver.resolve(name, "PTR", raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return None, settings.failed_s
        if answer.rrset is None:
            return None, settings.failed_s
        return str(answer.rrset[0].target).rstrip(".") or None, float(answer.rrset.ttl)

    return look_up


def _server(text: str) -> dns.nameserver.Do53Nameserver:
    address, port = text, str(_PORT)
    if not is_address(text):
        address, _, port = text.rpartition(":")
        address = address.removeprefix("[").removesuffix("]")
    if not is_address(address) or not port.isdecimal():
        raise ConfigError([f"name server '{text}' is no ADDRESS or ADDRESS:PORT"])
    return dns.nameserver.Do53Nameserver(address, int(port))


def _column(flows: pa.RecordBatch, name: str, resolver: Resolver) -> pa.DictionaryArray | None:
    if name not in flows.schema.names:
        return None
    column = flows.column(name)
    known = resolver.known([address for address in column.dictionary.to_pylist() if address is not None])
    texts = pa.array(known, pa.string()).dictionary_encode()
    if texts.null_count == len(texts):
        return None
    codes = np.full(len(column.dictionary) + 1, -1, np.int32)
    codes[:-1][column.dictionary.is_valid().to_numpy(zero_copy_only=False)] = texts.indices.fill_null(-1).to_numpy()
    return as_text(codes[places(column)], texts.dictionary).cast(TEXT)
