"""Answers from literal documents, computed by hand, and the bounds of what a top K cannot know."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowpb.groupings import AUTONOMOUS_SYSTEM, PROTOCOL
from stores.contract import Measures, Provenance, Store
from stores.questions import NO_APPLICATION, Filters, Items, SeriesQuery, Span, TopQuery, TotalsQuery
from tests.stores.literals import MINUTE, T0, A, B, Doc
from tests.stores.stores import Opener

SPAN = Span(T0, T0 + 2 * MINUTE)
APPS = "EXPORTER_APPLICATION"
IF_APPS = "EXPORTER_INTERFACE_APPLICATION"


def two_minutes() -> list[Doc]:
    """Minute 0 ranks http and dns and leaves 30 to Other; minute 1 ranks dns and no application, exact, with no Other."""
    return [
        Doc("EXPORTER", (1000, 200, 1000)),
        Doc(APPS, (600, 200, 600), "http"),
        Doc(APPS, (370, 0, 370), "dns", slot=1),
        Doc(APPS, (30, 0, 30), slot=2, other=True),
        Doc("EXPORTER", (500, 0, 500), minute=1),
        Doc(APPS, (400, 0, 400), "dns", minute=1),
        Doc(APPS, (100, 0, 100), None, slot=1, minute=1),
    ]


@pytest.fixture
def store(opened: Opener) -> Iterator[Store]:
    with opened([two_minutes()]) as store:
        yield store


def test_totals_are_exact(store: Store) -> None:
    totals = store.totals(TotalsQuery(SPAN, Filters(), "1m"))
    assert totals.measures == Measures(1500, 200, 1500, 150, 20, 150, 15, 2, 15)
    assert totals.error == 0
    assert totals.provenance == Provenance("1m", SPAN, SPAN, None)


def test_the_range_is_half_open(store: Store) -> None:
    answer = store.totals(TotalsQuery(Span(T0 + MINUTE, T0 + 5 * MINUTE), Filters(), "1m"))
    assert (answer.measures.bytes_total, answer.provenance.data) == (500, Span(T0 + MINUTE, T0 + 2 * MINUTE))
    assert store.totals(TotalsQuery(Span(T0 - MINUTE, T0), Filters(), "1m")).provenance.data is None


def test_top_carries_what_a_minute_may_have_left_out(store: Store) -> None:
    top = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 2))
    assert [(item.key, item.measures.bytes_total, item.error) for item in top.items] == [(("dns",), 770, 0), (("http",), 600, 0)]
    assert (top.total.bytes_total, top.other.bytes_total, top.other.bytes_egress) == (1500, 130, 0)
    # "no application" was not ranked in minute 0, where Other is 30: it has at most 130
    assert top.floor == 130
    third = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 3)).items[2]
    assert (third.key, third.measures.bytes_total, third.error) == ((None,), 100, 30)


@pytest.mark.parametrize(
    ("floor", "other", "last", "ranked", "bound"),
    [
        (0, 90, 50, 2, 50),  # K ranked: what was left out is no larger than the last
        (0, 20, 50, 2, 20),  # nor than Other
        (15, 90, 50, 2, 65),  # what was left out may have an error up to the floor
        (15, 90, 50, 1, 15),  # fewer than K ranked: only pruned items are missing
    ],
)
def test_bound_of_an_absent_item(opened: Opener, floor: int, other: int, last: int, ranked: int, bound: int) -> None:
    items = [Doc(APPS, (last, 0, last), f"app{place}", slot=place, floor=floor) for place in range(ranked)]
    rest = Doc(APPS, (other, 0, other), slot=2, other=True, floor=floor)
    documents = [
        *items,
        rest,
        Doc("EXPORTER", (1, 0, 1)),
        Doc("EXPORTER", (7, 0, 7), minute=1),
        Doc(APPS, (7, 0, 7), "x", minute=1),
    ]
    with opened([documents]) as store:
        found = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 10)).items
        assert {item.key: item.error for item in found}["x",] == bound
        assert store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 3)).floor >= bound


def test_errors_of_ranked_items_add_up(opened: Opener) -> None:
    documents = [Doc("EXPORTER", (60, 0, 60), minute=minute, exporter=exporter) for minute in (0, 1) for exporter in (A, B)]
    ranked = [
        Doc(APPS, (10, 0, 10), "dns", minute=minute, exporter=exporter, error=error, floor=9)
        for minute, exporter, error in ((0, A, 1), (1, A, 2), (0, B, 4))
    ]
    rest = [Doc(APPS, (50, 0, 50), slot=1, other=True, minute=1, exporter=B, floor=9)]
    with opened([documents + ranked + rest]) as store:
        [dns] = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", 5)).items
    assert (dns.measures.bytes_total, dns.error) == (30, 1 + 2 + 4 + 9)


def test_one_application_is_answered_with_its_error(store: Store) -> None:
    answer = store.totals(TotalsQuery(SPAN, Filters(application="http"), "1m"))
    assert (answer.measures.bytes_total, answer.measures.bytes_egress, answer.error) == (600, 200, 0)
    answer = store.totals(TotalsQuery(SPAN, Filters(application=NO_APPLICATION), "1m"))
    assert (answer.measures.bytes_total, answer.error) == (100, 30)
    points = store.series(SeriesQuery(None, SPAN, Filters(application=NO_APPLICATION), "1m", MINUTE)).points
    assert points.select(["start_ms", "bytes_total", "error"]).to_pylist() == [
        {"start_ms": T0, "bytes_total": 0, "error": 30},
        {"start_ms": T0 + MINUTE, "bytes_total": 100, "error": 0},
    ]


def test_series_of_everything_and_of_items(store: Store) -> None:
    points = store.series(SeriesQuery(None, SPAN, Filters(), "1m", MINUTE)).points
    assert points.select(["start_ms", "bytes_total", "bytes_egress"]).to_pylist() == [
        {"start_ms": T0, "bytes_total": 1000, "bytes_egress": 200},
        {"start_ms": T0 + MINUTE, "bytes_total": 500, "bytes_egress": 0},
    ]
    answer = store.series(SeriesQuery(Items.APPLICATIONS, SPAN, Filters(), "1m", MINUTE, n=1))
    assert answer.items == (("dns",),)
    shown = [(row["start_ms"] - T0, row["rank"], row["bytes_total"]) for row in answer.points.to_pylist()]
    assert shown == [(0, 0, 370), (0, 1, 630), (MINUTE, 0, 400), (MINUTE, 1, 100)]
    hour = 60 * MINUTE
    whole = store.series(SeriesQuery(None, SPAN, Filters(), "1m", hour)).points.to_pylist()
    assert [(row["start_ms"], row["bytes_total"]) for row in whole] == [(T0 // hour * hour, 1500)]


def test_hosts_count_twice_and_interfaces_have_their_own_documents(opened: Opener) -> None:
    documents = [
        Doc("EXPORTER", (100, 0, 100)),
        Doc("EXPORTER_HOST", (100, 0, 100), "10.0.0.1"),
        Doc("EXPORTER_HOST", (60, 0, 60), "10.0.0.2", slot=1),
        Doc("EXPORTER_HOST", (40, 0, 40), slot=2, other=True),
        Doc("EXPORTER_INTERFACE", (100, 0, 100), interface=1),
        Doc("EXPORTER_INTERFACE", (0, 80, 80), interface=2),
        Doc(IF_APPS, (100, 0, 100), "dns", interface=1),
        Doc(IF_APPS, (0, 80, 80), "ssh", interface=2),
    ]
    with opened([documents]) as store:
        hosts = store.top(TopQuery(Items.HOSTS, SPAN, Filters(), "1m", 1))
        assert (hosts.multiplicity, hosts.other.bytes_total) == (2, 100)
        points = store.series(SeriesQuery(Items.HOSTS, SPAN, Filters(), "1m", MINUTE, n=1)).points
        assert points["bytes_total"].to_pylist() == [100, 100]
        interfaces = store.top(TopQuery(Items.INTERFACES, SPAN, Filters(), "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in interfaces.items] == [
            (("Default", A, 1), 100),
            (("Default", A, 2), 80),
        ]
        one = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(exporter=A, interface=2), "1m", 5))
        assert [(item.key, item.measures.bytes_egress) for item in one.items] == [(("ssh",), 80)]
        assert one.total.bytes_total == 80
        none = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(exporter=B), "1m", 5))
        assert (none.items, none.provenance.data) == ((), None)
        [exporter] = store.exporters(SPAN, "1m").rows
    assert (exporter.exporter, exporter.interfaces, exporter.measures.bytes_total) == (A, 2, 100)
    assert (exporter.first_ms, exporter.last_ms, exporter.protocols) == (T0, T0 + MINUTE, ())


def test_kinds_of_values_count_at_both_ends(opened: Opener) -> None:
    documents = [
        Doc("EXPORTER", (1000, 0, 1000)),
        Doc("EXPORTER_AS", (1200, 0, 1200), "64500"),
        Doc("EXPORTER_AS", (500, 0, 500), None, slot=1),
        Doc("EXPORTER_AS", (300, 0, 300), slot=2, other=True),
        Doc("EXPORTER_INTERFACE", (70, 0, 70), interface=3),
        Doc("EXPORTER_INTERFACE_PROTOCOL", (70, 0, 70), "6", interface=3),
    ]
    with opened([documents]) as store:
        top = store.top(TopQuery(AUTONOMOUS_SYSTEM, SPAN, Filters(), "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in top.items] == [(("64500",), 1200), ((None,), 500)]
        assert (top.total.bytes_total, top.multiplicity, top.other.bytes_total) == (1000, 2, 300)
        protocols = store.top(TopQuery(PROTOCOL, SPAN, Filters(interface=3), "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in protocols.items] == [(("6",), 70)]
        points = store.series(SeriesQuery(AUTONOMOUS_SYSTEM, SPAN, Filters(), "1m", MINUTE, 1))
        assert points.items == (("64500",),)


def test_conversations_read_their_key(opened: Opener) -> None:
    key = '["Default",6,"9.0.0.1","10.0.0.2","http"]'
    documents = [Doc("EXPORTER", (5, 0, 5)), Doc("EXPORTER_CONVERSATION", (5, 0, 5), key)]
    with opened([documents]) as store:
        [item] = store.top(TopQuery(Items.CONVERSATIONS, SPAN, Filters(), "1m", 5)).items
        points = store.series(SeriesQuery(Items.CONVERSATIONS, SPAN, Filters(), "1m", MINUTE)).points
    assert item.key == ("Default", 6, "9.0.0.1", "10.0.0.2", "http")
    assert points["bytes_total"].to_pylist() == [5, 0]


Run = list[tuple[str, int, str, int, int]]


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """Runs of (exporter, minute, application, octets, version); a group's later versions are larger."""
    group = st.tuples(st.sampled_from((A, B)), st.integers(0, 2), st.sampled_from(("dns", "ssh")), st.integers(0, 2**40))
    return [[(*one, number) for one in draw(st.lists(group, max_size=4))] for number in range(draw(st.integers(1, 3)))]


@settings(max_examples=15)
@given(drawn=runs())
def test_answers_are_plain_sums_of_the_latest_versions(opened: Opener, drawn: list[Run]) -> None:
    latest: dict[tuple[str, int], tuple[int, str, int]] = {}
    documents = []
    for run in drawn:
        written = {(exporter, minute): (version, app, octets) for exporter, minute, app, octets, version in run}
        latest |= written
        documents.append(
            [
                Doc(name, (octets, 0, octets), item, minute=minute, exporter=exporter, rows=version + 1)
                for (exporter, minute), (version, app, octets) in written.items()
                for name, item in (("EXPORTER", None), (APPS, app))
            ]
        )
    span = Span(T0, T0 + 3 * MINUTE)
    apps: dict[str, int] = {}
    minutes: dict[int, int] = {}
    for (_, minute), (_, app, octets) in latest.items():
        apps[app] = apps.get(app, 0) + octets
        minutes[T0 + minute * MINUTE] = minutes.get(T0 + minute * MINUTE, 0) + octets
    with opened([run for run in documents if run]) as store:
        top = store.top(TopQuery(Items.APPLICATIONS, span, Filters(), "1m", 10))
        assert {str(item.key[0]): item.measures.bytes_total for item in top.items} == apps
        assert (top.total.bytes_total, top.other.bytes_total) == (sum(apps.values()), 0)
        points = store.series(SeriesQuery(None, span, Filters(), "1m", MINUTE)).points
        assert dict(zip(points["start_ms"].to_pylist(), points["bytes_total"].to_pylist(), strict=True)) == minutes


TRUTH = st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from("abcdef")), st.integers(0, 1000), max_size=20)


@settings(max_examples=15)
@given(truth=TRUTH)
def test_bounds_hold_whatever_the_top_two_of_each_minute_leave_out(opened: Opener, truth: dict[tuple[int, str], int]) -> None:
    documents = []
    for minute in sorted({minute for minute, _ in truth}):
        ranked = sorted(((-octets, app) for (at, app), octets in truth.items() if at == minute))
        total = -sum(octets for octets, _ in ranked)
        documents.append(Doc("EXPORTER", (total, 0, total), minute=minute))
        documents += [Doc(APPS, (-o, 0, -o), app, slot=slot, minute=minute) for slot, (o, app) in enumerate(ranked[:2])]
        if len(ranked) > 2:
            rest = total + sum(octets for octets, _ in ranked[:2])
            documents.append(Doc(APPS, (rest, 0, rest), slot=2, other=True, minute=minute))
    sums = {app: sum(octets for (_, one), octets in truth.items() if one == app) for _, app in truth}
    span = Span(T0, T0 + 4 * MINUTE)
    with opened([documents] if documents else []) as store:
        top = store.top(TopQuery(Items.APPLICATIONS, span, Filters(), "1m", 3))
        series = store.series(SeriesQuery(Items.APPLICATIONS, span, Filters(), "1m", MINUTE, n=3))
    listed = {str(item.key[0]): item for item in top.items}
    for app, octets in sums.items():
        if app in listed:
            assert listed[app].measures.bytes_total <= octets <= listed[app].measures.bytes_total + listed[app].error
        else:
            assert octets <= top.floor
    assert top.total.bytes_total == sum(sums.values())
    for point in series.points.to_pylist():
        minute = (point["start_ms"] - T0) // MINUTE
        if point["rank"] < len(series.items):
            octets = truth.get((minute, str(series.items[point["rank"]][0])), 0)
            assert point["bytes_total"] <= octets <= point["bytes_total"] + point["error"]
