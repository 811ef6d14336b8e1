"""What windows miss because it came too late, and what a repair makes of it: literals, and the oracle for all else."""

from typing import Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.lane import Limits, lay_out_many
from columns.late import Missing, missing
from columns.part import Part
from tests.columns.flows import batch as batch_of
from tests.columns.oracle import Flow

MINUTE: Final = 60_000
HORIZON: Final = 15 * MINUTE
DAY: Final = 24 * 60 * MINUTE
NOW: Final = 28_000_000 * MINUTE


def flows(*intervals: tuple[int, float]) -> pa.RecordBatch:
    """Flows of 600 octets from and to these minutes before NOW."""
    return batch_of([Flow(NOW - int(end * MINUTE), NOW - int(start * MINUTE), bytes=600, packets=1) for start, end in intervals])


def test_a_batch_in_time_leaves_nothing_open() -> None:
    assert missing(flows((15, 14), (40, 0)), NOW, NOW) == {}


def test_shares_and_ends_of_late_flows_are_told_by_window() -> None:
    lacking = missing(flows((32, 30), (31, 30), (1, 0)), NOW, NOW)
    assert lacking == {NOW - 32 * MINUTE: Missing(0, 1), NOW - 31 * MINUTE: Missing(2, 2)}


def test_a_late_flow_is_as_long_as_the_horizon_at_most() -> None:
    lacking = missing(flows((500, 100)), NOW, NOW)
    assert sorted(lacking) == [NOW - minute * MINUTE for minute in range(115, 100, -1)]


def test_the_returning_collectors_flows_are_whole_whatever_the_frontier_is() -> None:
    drained = missing(flows((62, 60)), NOW - 60 * MINUTE, NOW)
    assert drained == {NOW - 62 * MINUTE: Missing(0, 1), NOW - 61 * MINUTE: Missing(1, 1)}


def test_an_ancient_flow_belongs_nowhere() -> None:
    assert missing(flows((24 * 60 + 1, 24 * 60)), NOW, NOW) == {}
    assert len(missing(flows((24 * 60 + 1, 24 * 60 - 0.5)), NOW, NOW)) == 2


def test_a_flow_from_the_future_in_an_old_batch_is_late_with_its_mark() -> None:
    assert missing(flows((-500, -501)), NOW - 60 * MINUTE, NOW) == {NOW - 60 * MINUTE: Missing(1, 1)}


@pytest.mark.parametrize("repair", [False, True])
def test_octets_of_late_flows_have_parts_in_a_repair_only(repair: bool) -> None:
    laid = lay_out_many([(flows((32, 30), (1, 0)), NOW, NOW)], Limits(), repair)
    octets = {start: int(Part.unpack(part).measures[0].sum()) for start, part in laid.parts.items()}
    late = {NOW - 32 * MINUTE: 600, NOW - 31 * MINUTE: 600} if repair else {}
    assert octets == {**late, NOW - MINUTE: 1200}
    assert laid.late == 1


@given(
    st.lists(st.tuples(st.integers(-5, 2000), st.integers(-5, 2000)), min_size=1, max_size=20),
    st.integers(-120, 0),
    st.integers(-60, 60),
)
def test_what_is_missing_is_what_a_repair_lays_out_more(
    intervals: list[tuple[int, int]], mark_minutes: int, frontier_minutes: int
) -> None:
    batch = (flows(*intervals), NOW + mark_minutes * MINUTE, NOW + frontier_minutes * MINUTE)
    plain, repaired = (lay_out_many([batch], Limits(), repair).parts for repair in (False, True))
    more = {start: rows(part) - rows(plain.get(start)) for start, part in repaired.items()}
    # a flow of unknown direction has two rows for each share
    assert {start: 2 * lacking.shares for start, lacking in missing(*batch).items()} == {s: n for s, n in more.items() if n}


def rows(part: bytes | None) -> int:
    """Rows of a part."""
    return 0 if part is None else len(Part.unpack(part).port)
