"""Time series out of the pipeline: points of final documents, to Graphite and to Prometheus.

In: what the last mark leaves of windows, as Arrow IPC streams of AGGREGATE rows or in the steps of a micro-batch run. Out: points.
All of an exporter are in one lane, whichever collectors it sends to, so a lane's window has each series once. A bundle that is
repeated sends the same points again, which changes nothing. One outlet per process and receiver.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from common.config import Series
from common.logs import Limited
from pipelines.sinks import rows_of
from stores.series.graphite import Graphite, plain_name
from stores.series.outlet import Outlet, Transport
from stores.series.points import Point, added_up, points_of
from stores.series.remote_write import RemoteWrite, full_name
from transforms.carried_state import Stepped
from transforms.flows import NAMESPACE

_told = Limited(logging.getLogger(__name__), period_s=60.0)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where points go, small enough to travel to a worker."""

    protocol: str
    settings: Series

    def open(self) -> Outlet:
        """An outlet to it."""
        settings = self.settings
        transport: Transport
        if self.protocol == "graphite":
            transport = Graphite(settings.graphite, settings.prefix)
        else:
            transport = RemoteWrite(settings.prometheus, settings.prefix, settings.prometheus_token.get_secret_value())
        return Outlet(transport, settings.when_away, settings.buffer_points, settings.most_series)

    def points_of(self, table: pa.Table) -> list[Point]:
        """The points of a lane's window, one of each series that the receiver tells apart."""
        return added_up(points_of(table), plain_name if self.protocol == "graphite" else full_name)


def receivers_of(settings: Series) -> tuple[Receiver, ...]:
    """All that are configured."""
    return tuple(Receiver(name, settings) for name in ("graphite", "prometheus") if getattr(settings, name))


_OUTLETS: dict[Receiver, Outlet] = {}


def close_outlets() -> None:
    """One last try for the points that wait in this process, and the end of its connections."""
    while _OUTLETS:
        _OUTLETS.popitem()[1].close()


class WriteSeries(beam.DoFn):
    """Documents -> points, at the end of the bundle; raises OutletError where the settings say to wait."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._points: list[Point] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._points = []

    def process(self, element: bytes | Stepped) -> None:
        """Keeps the points of final documents."""
        tables: Sequence[pa.Table] = element.series if isinstance(element, Stepped) else [rows_of(element)]
        for table in tables:
            self._points.extend(self._receiver.points_of(table))

    def finish_bundle(self) -> None:
        """Delivers them."""
        outlet = _OUTLETS.get(self._receiver) or _OUTLETS.setdefault(self._receiver, self._receiver.open())
        before = outlet.totals.copy()
        try:
            outlet.deliver(self._points)
        finally:
            self._count(outlet, before)
        if outlet.fault:
            _told.warning(self._receiver.protocol, f"{outlet.fault}; points wait, and the oldest are dropped when too many do")

    def _count(self, outlet: Outlet, before: Mapping[str, int]) -> None:
        for result, total in outlet.totals.items():
            if total > before.get(result, 0):
                Metrics.counter(NAMESPACE, f'pipeline_points_total{{result="{result}"}}').inc(total - before.get(result, 0))
