"""One answer from days, hours, minutes and raw flows; and from location and system scope where they have every window."""

from typing import Final

import pytest

from stores.questions import Filters, Items, Piece, SeriesQuery, Span, TopQuery, TotalsQuery
from tests.stores.literals import MINUTE, T0, A, B, Doc, batch_of, flow
from tests.stores.stores import Opener

H0: Final = T0 // (60 * MINUTE) * 60 * MINUTE
BACK: Final = (H0 - T0) // MINUTE
"""The minute, counted from T0, that begins the hour."""
APPS: Final = "EXPORTER_APPLICATION"
HOUR: Final = 60 * MINUTE


def levels() -> list[Doc]:
    """An hour of 1000, of which dns has 600, with a floor; then two minutes of 100, of dns and ssh."""
    return [
        Doc("EXPORTER", (1000, 0, 1000), minute=BACK - 60, level="1h"),
        Doc(APPS, (600, 0, 600), "dns", minute=BACK - 60, level="1h", error=5, floor=7),
        Doc(APPS, (400, 0, 400), slot=1, other=True, minute=BACK - 60, level="1h", floor=7),
        # minutes that the hour has already: they must not count again
        Doc("EXPORTER", (999, 0, 999), minute=BACK - 1),
        Doc(APPS, (999, 0, 999), "http", minute=BACK - 1),
        *(Doc("EXPORTER", (100, 0, 100), minute=BACK + minute) for minute in (0, 1)),
        Doc(APPS, (100, 0, 100), "dns", minute=BACK),
        Doc(APPS, (100, 0, 100), "ssh", minute=BACK + 1),
    ]


SPAN: Final = Span(H0 - HOUR, H0 + 2 * MINUTE)
PIECES: Final = (Piece("1h", Span(H0 - HOUR, H0)), Piece("1m", Span(H0, H0 + 2 * MINUTE)))


def test_pieces_add_up_with_their_errors(opened: Opener) -> None:
    with opened([levels()]) as store:
        assert store.totals(TotalsQuery(SPAN, Filters(), "mixed", PIECES)).measures.bytes_total == 1200
        top = store.top(TopQuery(Items.APPLICATIONS, SPAN, Filters(), "mixed", 5, PIECES))
        # the hour ranks dns alone: what it lacks has at most min(Other, floor + last ranked) = 400 there; the minutes lack nothing
        assert [(item.key, item.measures.bytes_total, item.error) for item in top.items] == [
            (("dns",), 700, 5),
            (("ssh",), 100, 400),
        ]
        assert top.total.bytes_total == 1200
        assert top.other.bytes_total == 400
        assert top.floor == 400
        assert (top.provenance.source, top.provenance.data) == ("mixed", SPAN)


def test_a_series_over_pieces_has_one_point_per_step(opened: Opener) -> None:
    with opened([levels()]) as store:
        points = store.series(SeriesQuery(None, SPAN, Filters(), "mixed", HOUR, pieces=PIECES)).points
        assert points.select(["start_ms", "bytes_total"]).to_pylist() == [
            {"start_ms": H0 - HOUR, "bytes_total": 1000},
            {"start_ms": H0, "bytes_total": 200},
        ]
        apart = store.series(SeriesQuery(Items.APPLICATIONS, SPAN, Filters(), "mixed", 4 * HOUR, n=1, pieces=PIECES))
        assert [(row["rank"], row["bytes_total"]) for row in apart.points.to_pylist()] == [(0, 700), (1, 500)]


def test_exact_edges_come_from_raw_flows(opened: Opener) -> None:
    first = (H0 - T0) // 1000
    ends: dict[str, object] = {"src_addr": "10.0.0.9", "dst_addr": "10.0.0.10", "protocol": 6, "location": "Default"}
    flows = [
        flow(first - 40, first + 20, application="dns", bytes=600, **ends),
        flow(first - 50, first - 50, application="ssh", **ends),
    ]
    key = '["Default",6,"10.0.0.9","10.0.0.10","dns"]'
    minute = [
        Doc("EXPORTER", (200, 0, 200), minute=BACK),
        Doc("EXPORTER_CONVERSATION", (200, 0, 200), key, minute=BACK),
    ]
    span = Span(H0 - 30_000, H0 + MINUTE)
    pieces = (Piece("raw", Span(H0 - 30_000, H0)), Piece("1m", Span(H0, H0 + MINUTE)))
    with opened([minute], [batch_of(flows)]) as store:
        [item] = store.top(TopQuery(Items.CONVERSATIONS, span, Filters(), "mixed", 5, pieces)).items
        assert (item.key, item.measures.bytes_total) == (("Default", 6, "10.0.0.9", "10.0.0.10", "dns"), 300 + 200)
        early = Span(H0 - 50_000, H0 - 30_000)
        found = store.top(TopQuery(Items.APPLICATIONS, early, Filters(), "raw", 5)).items
        assert [(one.key, one.measures.bytes_total, one.measures.flows_total) for one in found] == [
            (("dns",), 100, 0),
            (("ssh",), 100, 1),
        ]


def wide(octets: int, minute: int, location: str | None = None) -> list[Doc]:
    """Total and application of the system, or of a location."""
    scope = "SYSTEM" if location is None else "LOCATION"
    where: dict[str, object] = {"location": location, "exporter_addr": None, "lane": None}
    return [
        Doc(scope, (octets, 0, octets), minute=minute, extra=where),
        Doc(f"{scope}_APPLICATION", (octets, 0, octets), "wide", minute=minute, extra=where),
    ]


@pytest.mark.parametrize("location", [None, "Default"])
def test_without_an_exporter_the_widest_scope_answers(opened: Opener, location: str | None) -> None:
    narrow = [
        *(Doc("EXPORTER", (10, 0, 10), minute=minute, exporter=exporter) for minute in (0, 1) for exporter in (A, B)),
        *(Doc(APPS, (10, 0, 10), "narrow", minute=minute, exporter=exporter) for minute in (0, 1) for exporter in (A, B)),
    ]
    span, filters = Span(T0, T0 + 2 * MINUTE), Filters(location=location)
    with opened([[*narrow, *wide(20, 0, location), *wide(20, 1, location)]]) as store:
        top = store.top(TopQuery(Items.APPLICATIONS, span, filters, "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in top.items] == [(("wide",), 40)]
        assert top.total.bytes_total == 40
        one = store.top(TopQuery(Items.APPLICATIONS, span, Filters(exporter=A), "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in one.items] == [(("narrow",), 20)]
        assert store.totals(TotalsQuery(span, Filters(location="nowhere"), "1m")).measures.bytes_total == 0
    with opened([[*narrow, *wide(20, 0, location)]]) as store:
        top = store.top(TopQuery(Items.APPLICATIONS, span, filters, "1m", 5))
        assert [(item.key, item.measures.bytes_total) for item in top.items] == [(("narrow",), 40)]
