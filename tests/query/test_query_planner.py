"""Which range and source answer what, and what is said when nothing can."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.errors import StoreError, UsageError
from query.planner import Asked, Plan, plan, plan_flows, step_for
from stores.parquet.reader import ParquetStore
from stores.questions import Filters, Items, Source, Span
from tests.stores.literals import MINUTE, T0, A, Doc, batch_of, fill

ANY = Asked(None, None)
NOW = T0 + 10 * MINUTE + 1
HOUR = Span(T0 - 50 * MINUTE, T0 + 11 * MINUTE)
DNS = Filters(application="dns")


@dataclass(frozen=True, slots=True)
class Stores:
    """Builds a store with documents at some minutes and a flow at others."""

    folder: Path
    opened: list[ParquetStore] = field(default_factory=list)

    def __call__(self, documents: list[int], flows: list[int]) -> ParquetStore:
        runs = [[Doc("EXPORTER", (1, 0, 1), minute=minute)] for minute in documents]
        times = [T0 + minute * MINUTE for minute in flows]
        batches = [
            batch_of([{"exporter_addr": A, "first_switched_ms": time, "last_switched_ms": time, "bytes": 1}], seq, time, time)
            for seq, time in enumerate(times)
        ]
        self.opened.append(ParquetStore.open(fill(self.folder / str(len(self.opened)), runs, batches)))
        return self.opened[-1]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    yield made
    for store in made.opened:
        store.close()


@pytest.mark.parametrize(
    ("items", "filters", "source"),
    [
        (Items.APPLICATIONS, Filters(), "1m"),
        (Items.HOSTS, Filters(exporter=A, interface=1), "1m"),
        (None, Filters(), "1m"),
        (Items.CONVERSATIONS, DNS, "raw"),
        (Items.HOSTS, Filters(host="10.0.0.1"), "raw"),
        (None, Filters(application="dns", host="10.0.0.1"), "raw"),
        (None, Filters(host="10.0.0.1"), "raw"),
        (Items.APPLICATIONS, DNS, "raw"),
    ],
)
def test_aggregates_answer_what_they_rank_and_raw_flows_the_rest(
    stores: Stores, items: Items | None, filters: Filters, source: Source
) -> None:
    assert plan(stores([0, 1], [0, 1]), ANY, NOW, items, filters) == Plan(HOUR, source)


def test_aggregates_answer_for_one_application_where_raw_flows_are_gone(stores: Stores) -> None:
    asked = Asked(T0, T0 + 9 * MINUTE)
    assert plan(stores([0, 9], [5]), asked, NOW, None, DNS).source == "1m"
    assert plan(stores([0, 9], [0, 9]), asked, NOW, None, DNS).source == "raw"
    assert plan(stores([0, 9], []), asked, NOW, None, DNS).source == "1m"


def test_raw_flows_answer_before_the_first_aggregates(stores: Stores) -> None:
    assert plan(stores([], [9]), ANY, NOW, Items.HOSTS, Filters()).source == "raw"
    assert plan(stores([-90], [9]), ANY, NOW, Items.HOSTS, Filters()).source == "raw"


def test_ranges_round_out_to_minutes_but_not_for_flows(stores: Stores) -> None:
    store = stores([0], [0])
    asked = Asked(T0 + 1, T0 + MINUTE + 1)
    assert plan(store, asked, NOW, None, Filters()).span == Span(T0, T0 + 2 * MINUTE)
    assert plan_flows(store, Asked(T0 - 5, T0 + 7), NOW).span == Span(T0 - 5, T0 + 7)


def test_half_a_range(stores: Stores) -> None:
    store = stores([0], [])
    assert plan(store, Asked(T0, None), NOW, None, Filters()).span == Span(T0, T0 + 11 * MINUTE)
    assert plan(store, Asked(None, T0 + MINUTE), NOW, None, Filters()).span == Span(T0 - 59 * MINUTE, T0 + MINUTE)


def test_old_data_is_shown_unless_a_range_was_asked_for(stores: Stores) -> None:
    store = stores([0, 1], [])
    later = NOW + 5 * 3_600_000
    found = plan(store, ANY, later, None, Filters())
    assert (found.span, found.note) == (
        Span(T0, T0 + 2 * MINUTE),
        "no data in 2026-09-21T18:24:00Z to 19:25:00Z; this is the latest",
    )
    with pytest.raises(StoreError, match=r"no data in .*; the store has 2026-09-21T14:14:00Z to 14:16:00Z"):
        plan(store, Asked(later - MINUTE, None), later, None, Filters())


def test_what_cannot_be_answered(stores: Stores) -> None:
    with pytest.raises(StoreError, match="the store has no data yet"):
        plan(stores([], []), ANY, NOW, None, Filters())
    with pytest.raises(StoreError, match="only raw flows can answer this question, and the store has none"):
        plan(stores([0], []), ANY, NOW, Items.HOSTS, DNS)
    with pytest.raises(StoreError, match="the store has no raw flows"):
        plan_flows(stores([0], []), ANY, NOW)
    with pytest.raises(UsageError, match="is empty: --from must be before --to"):
        plan(stores([0], []), Asked(T0, T0), NOW, None, Filters())


def test_steps() -> None:
    steps = [step_for(Span(0, hours * 3_600_000)) for hours in (1, 2, 24, 24 * 7, 24 * 365)]
    assert steps == [MINUTE, 5 * MINUTE, 60 * MINUTE, 240 * MINUTE, 1440 * MINUTE]
