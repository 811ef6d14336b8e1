"""What a site of a given size needs: a model, out of costs that were measured one by one.

In: flows a second and interfaces. Out: cores, bytes and slots. Everything is linear in flows, documents and windows, which is what
the benchmarks show within their range; the constants name the page that they come from. Refuses to know prices and margins beyond
`BUSY`: how much of a core is to be planned with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flowpb.groupings import TOP_K

BUSY: Final = 0.6
"""Share of a core that is planned with: what is left catches up after an outage, at (1 - BUSY) / BUSY of the rate and more."""

INGEST_US: Final = 1.1  # a flow; benchmarks-ingest.md, v9 at 300,000 flows/s
BUS_BYTES: Final = 81  # a flow, columns without compression; zstd: 20 for 0.3 us
PIPELINE_FLOW_US: Final = 5.0  # a flow on Flink, JVMs included; benchmarks-pipeline.md
PIPELINE_DOCUMENT_US: Final = 25.0  # a document on Flink, all that is done for it; benchmarks-pipeline.md
FINAL_PER_INTERFACE: Final = 1 + 3 * (TOP_K + 1)  # a minute: a total, and of three kinds K and Other, where there are so many
DOCUMENTS_PER_INTERFACE: Final = FINAL_PER_INTERFACE * 2.1  # written: at the first two marks, and what changed until the third
RAW_CLIENT_US: Final = 2.1  # a raw document, profile compact; how-to/elasticsearch.md
RAW_SERVER_US: Final = 28.0  # the same, CPU of the server
RAW_BYTES: Final = 42  # on disk
AGGREGATE_SERVER_US: Final = 60.0
AGGREGATE_BYTES: Final = 70  # on disk, without _source
WINDOW_BYTES: Final = 20_000  # state of one interface in one window, dense traffic
OPEN_WINDOWS: Final = 18  # the horizon, and a few that fill
SLOT_FLOWS: Final = 200_000
"""Flows a second that one subtask, which is one Python process, should get."""

SITES: Final = ((1_000, 100), (10_000, 400), (100_000, 400), (100_000, 2_000), (1_000_000, 20_000), (10_000_000, 100_000))


@dataclass(frozen=True, slots=True)
class Site:
    """Needs of a site. Bytes are decimal; `cores` are of the kind that the benchmarks ran on."""

    flows: int
    interfaces: int

    @property
    def documents(self) -> float:
        """Aggregate documents written a second."""
        return self.interfaces * DOCUMENTS_PER_INTERFACE / 60

    @property
    def ingest_cores(self) -> float:
        """Of all collectors."""
        return self.flows * INGEST_US / 1e6 / BUSY

    @property
    def pipeline_cores(self) -> float:
        """Of Flink, raw documents included."""
        flows = self.flows * (PIPELINE_FLOW_US + RAW_CLIENT_US)
        return (flows + self.documents * PIPELINE_DOCUMENT_US) / 1e6 / BUSY

    @property
    def slots(self) -> int:
        """Subtasks: TaskManagers with one slot and one Python process each."""
        return max(1, -(-int(self.pipeline_cores * 10) // 10))

    @property
    def lanes(self) -> int:
        """Lanes and partitions: four to a subtask, so that they can be dealt out evenly; 16 at least."""
        return max(16, 1 << (4 * self.slots - 1).bit_length())

    @property
    def bus_mb_s(self) -> float:
        """Into Kafka."""
        return self.flows * BUS_BYTES / 1e6

    @property
    def state_gb(self) -> float:
        """Of all windows that are open."""
        return self.interfaces * WINDOW_BYTES * OPEN_WINDOWS / 1e9

    @property
    def store_cores(self) -> float:
        """Of Elasticsearch for writing, before replicas and questions."""
        return (self.flows * RAW_SERVER_US + self.documents * AGGREGATE_SERVER_US) / 1e6 / BUSY

    @property
    def raw_gb_day(self) -> float:
        """Raw documents on disk, before replicas."""
        return self.flows * 86_400 * RAW_BYTES / 1e9

    @property
    def aggregate_gb_day(self) -> float:
        """Minute aggregates on disk, before replicas."""
        return self.interfaces * FINAL_PER_INTERFACE * 1_440 * AGGREGATE_BYTES / 1e9


HEAD: Final = (
    "| flows/s | interfaces | ingest cores | Kafka MB/s | Flink cores | slots | lanes | state GB | Elasticsearch cores (raw on) "
    "| raw GB/day | minute aggregates GB/day |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def lines(sites: tuple[tuple[int, int], ...] = SITES) -> Iterator[str]:
    """The table of some sites."""
    yield HEAD
    for flows, interfaces in sites:
        site = Site(flows, interfaces)
        cells = (
            f"{flows:,}",
            f"{interfaces:,}",
            _round(site.ingest_cores),
            _round(site.bus_mb_s),
            _round(site.pipeline_cores),
            f"{site.slots:,}",
            f"{site.lanes:,}",
            _round(site.state_gb),
            _round(site.store_cores),
            _round(site.raw_gb_day),
            _round(site.aggregate_gb_day),
        )
        yield "| " + " | ".join(cells) + " |"


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
