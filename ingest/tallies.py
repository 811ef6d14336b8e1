"""What the receiving and the sending thread counted, moved into the counters by the decoding thread, which owns those.

In: totals that only rise. Out: their growth, in the counters and in the losses of the ledger.
"""

from collections import Counter
from typing import Final

from common.metrics import Counters
from ingest.listeners.receivers import Receivers
from ingest.losses import Losses
from ingest.outbox import Outbox

QUEUE_FULL: Final = "queue_full"
SOURCE_REFUSED: Final = "source_refused"


class Tallies:
    """Remembers how much of each total has been moved."""

    def __init__(self, counters: Counters, receivers: Receivers, outbox: Outbox) -> None:
        self._counters = counters
        self._receivers = receivers
        self._outbox = outbox
        self._moved: Counter[str] = Counter()

    def collect(self, losses: Losses) -> None:
        """Move what has been added since the last call."""
        self._collect_losses(losses)
        add = self._counters.add
        add("ingest_datagrams_dropped_total", self._growth("refused", self._receivers.refused), reason=SOURCE_REFUSED)
        add("ingest_socket_errors_total", self._growth("socket_errors", self._receivers.errors))
        for reason, total in self._receivers.endings.items():
            add("ingest_connections_total", self._growth(f"connections {reason}", total), reason=reason)
        add("ingest_batches_total", self._growth("batches", self._outbox.batches))
        add("ingest_batch_bytes_total", self._growth("octets", self._outbox.octets))
        add("ingest_bus_errors_total", self._growth("bus_errors", self._outbox.errors))

    def _collect_losses(self, losses: Losses) -> None:
        kernel = self._growth("socket_drops", self._receivers.socket_drops)
        self._counters.add("ingest_socket_drops_total", kernel)
        losses.unknown += kernel
        dropped = self._receivers.taken_drops()
        self._counters.add("ingest_datagrams_dropped_total", dropped.total(), reason=QUEUE_FULL)
        losses.known.update(dropped)

    def _growth(self, name: str, total: int) -> int:
        grown = total - self._moved[name]
        self._moved[name] = total
        return grown
