"""The embedded pipeline put together from settings: bus, manifest, rules, driver and the store's upkeep."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final, Literal

from bus.contract import Source
from bus.open import open_source, parse_url
from columns.enrich import Enricher
from columns.lane import Limits
from common.clock import wall_clock
from common.config import Enrichment, Pipeline, Settings
from common.errors import ConfigError
from common.metrics import Counters
from common.start import EARLIEST, parse_start
from inventory.dns import ReverseDns
from pipelines.aggregate import Outputs
from pipelines.bus_again import flows_again
from pipelines.direct import MicroBatches, Work
from pipelines.repair import Flows, Ready, Repairs, raw_flows
from pipelines.rolling import Rolling
from pipelines.rollup import Rules
from pipelines.series_sink import close_outlets, receivers_of
from stores.parquet.manifest import Manifest
from stores.parquet.upkeep import Maintenance

if TYPE_CHECKING:
    from bus.kafka_client import KafkaTarget

_UPKEEP_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """A driver with its manifest."""

    driver: MicroBatches
    manifest: Manifest
    settings: Settings
    work: Work

    def run_until(self, stopped: Event) -> None:
        """Runs, and every ten seconds the store's upkeep, longer windows and repairs between two of them, until `stopped`."""
        rules = Rules(self.work.limits, self.work.enricher, self.work.outputs.wide)
        with ExitStack() as open_:
            open_.callback(close_outlets)
            maintenance = open_.enter_context(Maintenance(self.manifest, self.settings.store))
            rolling = open_.enter_context(Rolling(self.manifest, rules))
            repairs = self.repairs()
            if repairs:
                open_.enter_context(repairs)
            due_ms = wall_clock()

            def upkeep() -> None:
                nonlocal due_ms
                if wall_clock() >= due_ms:
                    maintenance.step(wall_clock())
                    rolling.step()
                    if repairs:
                        repairs.step()
                    due_ms = wall_clock() + _UPKEEP_MS

            self.driver.run_until(stopped, self.settings.pipeline.run_interval_ms / 1000, upkeep)

    def repairs(self, settle_s: int | None = None) -> Repairs | None:
        """Repairs of windows that got no late flows for `settle_s`, by default as configured; None where that says never."""
        after_s = self.settings.pipeline.repair_after_s if settle_s is None else settle_s
        again = raw_flows if self.work.outputs.raw else flows_of_bus(self.settings, self.work.enricher)
        if after_s is None or again is None:
            return None
        return Repairs(
            self.manifest, self.work.limits, self.work.enricher, Ready(after_s * 1000, wide=self.work.outputs.wide), again
        )


def limits_of(settings: Pipeline) -> Limits:
    """Bounds of lane state as configured."""
    return Limits(
        top_k=settings.top_k,
        young=settings.candidates_young,
        old=settings.candidates_old,
        young_items=settings.items_young,
        old_items=settings.items_old,
        with_dscp=settings.with_dscp,
        both_sides=settings.both_sides,
        edge_only=settings.edge_only,
        deduplicate=settings.deduplicate,
        nodes=bool(settings.flow_documents_in),
        values=settings.groupings.values(),
    )


def enricher_of(settings: Enrichment) -> Enricher:
    """Rules, inventory and names as configured; raises ConfigError if a file cannot be used."""
    return Enricher.of(settings, ReverseDns(servers=settings.name_servers) if settings.hostnames else None)


def opener_of(settings: Settings) -> Callable[[], Source]:
    """Opens the reading end of the bus, once more each time."""
    return lambda: open_source(settings.bus, Path(settings.data_dir))


def flows_of_bus(settings: Settings, enricher: Enricher) -> Flows | None:
    """Flows for repairs from the bus, where that is Kafka: a spool forgets what was read."""
    if not settings.bus.url.startswith("kafka:"):
        return None
    return lambda plan, _: flows_again(opener_of(settings), settings.bus.lanes, enricher, plan.entries, plan.span)


def work_of(settings: Settings) -> Work:
    """What every run does, as configured."""
    pipeline = settings.pipeline
    documents = bool(pipeline.flow_documents_in)
    receivers, target = receivers_of(settings.series), document_target(settings, "flow_documents_out")
    outputs = Outputs(pipeline.raw, target, documents, receivers, pipeline.wide)
    enricher, limits = enricher_of(settings.enrichment), limits_of(pipeline)
    return Work(enricher, limits, settings.bus.lanes, pipeline.run_bytes, outputs, documents)


def document_target(settings: Settings, name: Literal["flow_documents_in", "flow_documents_out"]) -> "KafkaTarget | None":
    """The topic of FlowDocuments that a setting names; raises ConfigError for what is no Kafka."""
    from bus.kafka_client import KafkaTarget

    url: str = getattr(settings.pipeline, name)
    if not url:
        return None
    target = parse_url(url, Path(settings.data_dir))
    if not isinstance(target, KafkaTarget):
        raise ConfigError([f"pipeline.{name}: it must be kafka://host:9092/topic"])
    return target


def open_reading(settings: Settings, counters: Counters | None = None) -> Source:
    """What the pipeline reads: the bus, or a topic of FlowDocuments; raises BusError, ConfigError."""
    target = document_target(settings, "flow_documents_in")
    if target is None:
        return open_source(settings.bus, Path(settings.data_dir), counters)
    from bus.kafka_source import KafkaSource

    return KafkaSource(target, counters, append_times=False)


@contextmanager
def open_embedded(settings: Settings, source: Source | None = None) -> Iterator[Embedded]:
    """Opens what the settings name and closes it again; raises BusError, StoreError, ConfigError.

    A given `source` is read instead, whole: what the data folder has of it already is dropped as a repeat.
    """
    data_dir = Path(settings.data_dir)
    with Manifest.open(data_dir, writer=True) as manifest:
        counters = Counters()
        reading = source or open_reading(settings, counters)
        try:
            start = parse_start(settings.pipeline.start, wall_clock()) if source is None else EARLIEST
            work = work_of(settings)
            driver = MicroBatches(reading, manifest, work, source is None, counters, start)
            yield Embedded(driver, manifest, settings, work)
        finally:
            if source is None:
                reading.close()
