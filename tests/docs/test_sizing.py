"""The sizing page shows the model's table, and the model adds up."""

import pytest

from bench.matrix import write_page
from bench.sizing import SITES, Site, lines
from tests.docs.test_reference import DOCS


def test_the_page_has_the_models_table() -> None:
    page = (DOCS / "reference/sizing.md").read_text(encoding="utf-8")
    assert "\n".join(lines()) in page, "write it again: nephrite bench sizing"


def test_needs_are_those_of_the_parts() -> None:
    site = Site(100_000, 400)
    assert site.bus_mb_s == pytest.approx(8.1)
    assert site.raw_gb_day == pytest.approx(100_000 * 86_400 * 42 / 1e9)
    assert site.ingest_cores == pytest.approx(0.11 / 0.6)
    assert site.documents == pytest.approx(400 * 34 * 2.1 / 60)
    assert site.lanes == 16


@pytest.mark.parametrize(("flows", "interfaces"), SITES)
def test_subtasks_have_lanes_and_cores_enough(flows: int, interfaces: int) -> None:
    site = Site(flows, interfaces)
    assert site.slots >= site.pipeline_cores
    assert site.lanes >= 4 * site.slots
    assert Site(2 * flows, interfaces).ingest_cores == pytest.approx(2 * site.ingest_cores)


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = tmp_path_factory.mktemp("page") / "page.md"
    page.write_text("a\n<!-- table -->\nold\n<!-- end -->\nb\n", encoding="utf-8")
    write_page(page, "new")
    assert page.read_text(encoding="utf-8") == "a\n<!-- table -->\nnew\n<!-- end -->\nb\n"
    page.write_text("a\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no <!-- table -->"):
        write_page(page, "new")
