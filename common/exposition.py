"""Counters as Prometheus reads them.

In: totals and gauges under names of the one table of metrics. Out: the text exposition format. Refuses to know how it is served.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.metrics import METRICS, Key, parsed


def expose(totals: Mapping[Key, int], gauges: Mapping[str, float]) -> bytes:
    """All metrics that have a value; counters without labels are shown from 0 on, so that their growth is seen.

    Gauges with labels are named as common.metrics.rendered writes them.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(totals, gauges))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, totals: Mapping[Key, int], gauges: Mapping[str, float]) -> None:
        self._totals = totals
        self._gauges = {parsed(name): value for name, value in gauges.items()}

    def collect(self) -> Iterable[Metric]:
        for metric in METRICS:
            gauge = metric.kind == "gauge"
            kind = GaugeMetricFamily if gauge else CounterMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for (name, labels), total in (self._gauges if gauge else self._totals).items():
                if name == metric.name:
                    values = dict(labels)
                    family.add_metric([values[label] for label in metric.labels], total)
            if not (family.samples or metric.labels or gauge):
                family.add_metric([], 0)
            if family.samples:
                yield family
