"""Everything that the pipeline adds to a batch of flows.

In: a record batch with columns of FLOW, in any number. Out: the same with the columns of the pipeline's stage appended, in the
order of FLOW. Refuses to know the bus, Beam and windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns.classify import NOTHING_KNOWN, Classifier, Exporters, default_classifier
from columns.client import client_column
from columns.dictionaries import joined
from columns.direction import repaired_direction
from columns.inventory import Inventory, inventory_columns, process_inventory
from columns.locality import PRIVATE_NETWORKS, locality_columns
from columns.rules.live import process_rules
from common.config import Enrichment
from flowpb.schema import BY_NAME, Stage


class Hostnames(Protocol):
    """Names of addresses. It travels to workers, and never keeps a flow waiting: a name that is not known yet is null."""

    def columns(self, flows: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """src_hostname and dst_hostname, as far as they are known."""

    def take_counts(self) -> Mapping[str, int]:
        """How many addresses came to which end since the last call in this process."""


@dataclass(frozen=True, slots=True)
class Enricher:
    """What to enrich with, small enough to travel to a worker; the tables are built there at first use.

    `private_networks` in CIDR form are the addresses that count as private. `rules` is the path of a rule book, without which the
    pre-defined rules hold; `inventory` that of a snapshot. Both are followed as they change.
    """

    private_networks: tuple[str, ...] = PRIVATE_NETWORKS
    rules: str = ""
    inventory: str = ""
    client: bool = False
    database_as_first: bool = False
    hostnames: Hostnames | None = None
    direction_by_side: bool = False

    @classmethod
    def default(cls) -> "Enricher":
        """IANA's services as applications, and the private networks of the RFCs."""
        return cls()

    @classmethod
    def of(cls, settings: Enrichment, hostnames: Hostnames | None = None) -> "Enricher":
        """As configured; raises ConfigError if a file cannot be used, so that a service does not start with a bad one."""
        networks = settings.private_networks or PRIVATE_NETWORKS
        database_first = settings.as_number == "database"
        by_side = settings.direction == "interface_side"
        enricher = cls(networks, settings.rules, settings.inventory, settings.client, database_first, hostnames, by_side)
        enricher.classifier()
        enricher.snapshot()
        return enricher

    def classifier(self) -> Classifier:
        """The rules in force in this process; raises ConfigError if there never were any that could be used."""
        return process_rules(self.rules).current() if self.rules else default_classifier()

    def rules_version(self) -> str | None:
        """Version of the rules in force; None where only the pre-defined ones are."""
        return self.classifier().book.version if self.rules else None

    def snapshot(self) -> Inventory | None:
        """The inventory in force in this process; raises ConfigError if there never was one that could be used."""
        return process_inventory(self.inventory).current() if self.inventory else None

    def enrich(self, flows: pa.RecordBatch, keep: bool = False) -> pa.RecordBatch:
        """The flows with application and localities, and with what else is configured.

        What flows bring of these columns is replaced, or with `keep` only completed.
        """
        inventory = self.snapshot()
        added = self._applications(flows, NOTHING_KNOWN if inventory is None else inventory)
        added |= locality_columns(flows, self.private_networks)
        if inventory is not None:
            added |= inventory_columns(flows, inventory.snapshot, self.database_as_first)
        if self.direction_by_side:
            added["direction"] = repaired_direction(flows, added)
        if self.client:
            added["client"] = client_column(flows)
        if self.hostnames is not None:
            added |= self.hostnames.columns(flows)
        return _with_columns(flows, _completed(flows, added) if keep else added)

    def enrich_many(self, batches: Sequence[pa.RecordBatch], keep: bool = False) -> list[pa.RecordBatch]:
        """What `enrich` gives for each batch; those with the same columns are taken together, which costs much less."""
        if self.client:  # is found by what else is in its batch
            return [self.enrich(flows, keep) for flows in batches]
        alike: dict[pa.Schema, list[int]] = {}
        for number, flows in enumerate(batches):
            alike.setdefault(flows.schema, []).append(number)
        enriched = list(batches)
        for numbers in alike.values():
            together = self.enrich(_joined([batches[number] for number in numbers]), keep)
            start = 0
            for number in numbers:
                enriched[number] = together.slice(start, batches[number].num_rows)
                start += batches[number].num_rows
        return enriched

    def take_counts(self) -> dict[str, int]:
        """Counters of this process that grew since the last call, under their full names."""
        counts = {} if self.hostnames is None else self.hostnames.take_counts()
        return {f'pipeline_hostnames_total{{result="{result}"}}': count for result, count in counts.items() if count}

    def _applications(self, flows: pa.RecordBatch, exporters: Exporters) -> dict[str, pa.Array]:
        classifier = self.classifier()
        applications = {"application": classifier.applications(flows, exporters)}
        if not self.rules:
            return applications
        version = pa.array([self.rules_version()], pa.string())
        return applications | {"rules_version": pa.DictionaryArray.from_arrays(np.zeros(flows.num_rows, np.int32), version)}


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else joined(batches)


def _completed(flows: pa.RecordBatch, added: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns, where the flows have them already: their values, and ours for what they lack."""
    brought = {name for name in added if name in flows.schema.names and BY_NAME[name].stage is Stage.PIPELINE}
    return {name: _first_of(flows.column(name), column) if name in brought else column for name, column in added.items()}


def _first_of(theirs: pa.Array, ours: pa.Array) -> pa.Array:
    plain = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in (theirs, ours)]
    return pc.coalesce(*plain).dictionary_encode() if pa.types.is_dictionary(ours.type) else pc.coalesce(*plain)


def _with_columns(flows: pa.RecordBatch, added: Mapping[str, pa.Array]) -> pa.RecordBatch:
    columns = dict(zip(flows.schema.names, flows.columns, strict=True)) | dict(added)
    names = [name for name in BY_NAME if name in columns]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)
