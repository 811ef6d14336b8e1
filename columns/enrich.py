"""Everything that the pipeline adds to a batch of flows.

In: a record batch with columns of FLOW, in any number. Out: the same with the columns of the pipeline's stage appended, in the
order of FLOW. Refuses to know the bus, Beam and windows. Work on addresses is done once per distinct address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.classify import Classifier, default_classifier
from columns.dictionaries import places
from columns.locality import PRIVATE_NETWORKS, is_private
from columns.ranges import halves
from columns.rules.live import process_rules
from common.config import Enrichment
from flowpb.schema import BY_NAME

_PUBLIC: Final = 0
_PRIVATE: Final = 1
_UNKNOWN: Final = 2
_LOCALITIES: Final = pa.array(["public", "private"], pa.string())

Localities = NDArray[np.int8]
"""_PUBLIC, _PRIVATE or _UNKNOWN of each flow."""
_FLOW_LOCALITY: Final = np.array(
    [[_PUBLIC, _PUBLIC, _PUBLIC], [_PUBLIC, _PRIVATE, _UNKNOWN], [_PUBLIC, _UNKNOWN, _UNKNOWN]], np.int8
)
"""By the localities of both ends: one public end makes a flow public, whatever the other is."""


@dataclass(frozen=True, slots=True)
class Enricher:
    """What to enrich with, small enough to travel to a worker; the tables are built there at first use.

    `private_networks` in CIDR form are the addresses that count as private. `rules` is the path of a rule book, which is followed
    as it changes; without one the pre-defined rules hold.
    """

    private_networks: tuple[str, ...] = PRIVATE_NETWORKS
    rules: str = ""

    @classmethod
    def default(cls) -> "Enricher":
        """IANA's services as applications, and the private networks of the RFCs."""
        return cls()

    @classmethod
    def of(cls, settings: Enrichment) -> "Enricher":
        """As configured; raises ConfigError if the rules cannot be used, so that a service does not start with bad ones."""
        enricher = cls(settings.private_networks or PRIVATE_NETWORKS, settings.rules)
        enricher.classifier()
        return enricher

    def classifier(self) -> Classifier:
        """The rules in force in this process; raises ConfigError if there never were any that could be used."""
        return process_rules(self.rules).current() if self.rules else default_classifier()

    @property
    def rules_version(self) -> str:
        """Names the rules in force: documents made with other rules have another one."""
        return self.classifier().book.version

    def enrich(self, flows: pa.RecordBatch) -> pa.RecordBatch:
        """The flows with application, src_locality, dst_locality and flow_locality; columns of these names are replaced."""
        source = self._localities(flows, "src_addr")
        destination = self._localities(flows, "dst_addr")
        added = {
            "application": self.classifier().applications(flows),
            "src_locality": _locality_column(source),
            "dst_locality": _locality_column(destination),
            "flow_locality": _locality_column(_FLOW_LOCALITY[source, destination]),
        }
        return _with_columns(flows, added)

    def _localities(self, flows: pa.RecordBatch, name: str) -> Localities:
        if name not in flows.schema.names:
            return np.full(flows.num_rows, _UNKNOWN, np.int8)
        column = flows.column(name)
        addresses = column.dictionary
        distinct = np.full(len(addresses) + 1, _UNKNOWN, np.int8)
        distinct[:-1] = is_private(halves(addresses), self.private_networks)
        of_flows: Localities = distinct[places(column)]
        return of_flows


def _locality_column(localities: Localities) -> pa.DictionaryArray:
    unknown = localities == _UNKNOWN
    indices = pa.array(localities.astype(np.int32), mask=unknown if unknown.any() else None)
    return pa.DictionaryArray.from_arrays(indices, _LOCALITIES)


def _with_columns(flows: pa.RecordBatch, added: Mapping[str, pa.Array]) -> pa.RecordBatch:
    columns = dict(zip(flows.schema.names, flows.columns, strict=True)) | dict(added)
    names = [name for name in BY_NAME if name in columns]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)
