"""Which end of a flow asked, and which served?

In: a batch. Out: the column `client`. An end with a well-known port (below 1024, RFC 6335 section 6) is the server; else one with a
port that IANA has assigned for the protocol. Where both ends are alike in that, the client is the end whose flow began first, if
the batch has both directions; else null, as for flows without ports.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.classify import default_classifier
from columns.dictionaries import integers
from columns.first_seen import UNKNOWN, first_seen
from columns.rules.ports import NO_PORT, NO_PROTOCOL
from flowpb.schema import Client

_WELL_KNOWN: Final = 1024
_WITH_PORTS: Final = np.isin(np.arange(NO_PROTOCOL + 1), (6, 17, 33, 132))
"""TCP, UDP, DCCP, SCTP."""


def client_column(flows: pa.RecordBatch) -> pa.Array:
    """The end that asked, of each flow (`flowpb.schema.Client`)."""
    protocol = integers(flows, "protocol", NO_PROTOCOL)
    source, destination = integers(flows, "src_port", NO_PORT), integers(flows, "dst_port", NO_PORT)
    served_by_source, served_by_destination = _service(protocol, source), _service(protocol, destination)
    by_port = np.where(served_by_source > served_by_destination, Client.DESTINATION, Client.SOURCE).astype(np.uint8)
    alike = served_by_source == served_by_destination
    client = np.where(
        alike, first_seen(flows, alike & _WITH_PORTS[protocol] & (source != NO_PORT) & (destination != NO_PORT)), by_port
    )
    return pa.array(client, mask=~_WITH_PORTS[protocol] | (client == UNKNOWN))


def _service(protocol: NDArray[np.integer], port: NDArray[np.integer]) -> NDArray[np.int8]:
    """How much a port looks like that of a service: 2 well-known, 1 assigned, 0 neither."""
    table = default_classifier().ports
    assigned = table.dst[table.row_start[protocol] + port] < len(default_classifier().rules)
    return np.where(port < _WELL_KNOWN, 2, assigned).astype(np.int8)
