"""A NetFlow v9 or IPFIX message on its way through the intake: where it came from, and the data sets found in it so far."""

from dataclasses import dataclass, field

from ingest.exporters import Domain, Exporter
from ingest.protocols.message import Header


@dataclass(slots=True)
class Message:
    """A message while its sets are taken in; `is_counted` is False where its number of records is not known."""

    exporter: Exporter
    domain: Domain
    header: Header
    payload: bytes
    received_ms: int
    correction_ms: int
    sets: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    data_records: int = 0
    is_counted: bool = True
