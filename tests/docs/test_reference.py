"""Reference pages that are made from the program say what the program says."""

from pathlib import Path
from typing import Final

from common.commands import document
from common.config import Settings
from common.metrics import METRICS

DOCS: Final = Path(__file__).parents[2] / "docs"


def test_the_settings_page_is_what_the_command_prints() -> None:
    page = (DOCS / "reference/settings.md").read_text(encoding="utf-8")
    assert page.endswith(document(Settings, "")), "write it again: .venv/bin/nephrite config docs"


def test_every_counter_is_on_the_counters_page() -> None:
    page = (DOCS / "reference/counters.md").read_text(encoding="utf-8")
    rows = [f"| `{m.name}` | {', '.join(m.labels) or '-'} | {m.help} |" for m in METRICS]
    assert [row for row in rows if row not in page] == []


def test_links_between_pages_lead_somewhere() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    targets = [
        (page, target.split(")")[0].split("#")[0])
        for page in pages
        for target in page.read_text(encoding="utf-8").split("](")[1:]
        if not target.startswith(("http", "#"))
    ]
    assert [f"{page.name}: {target}" for page, target in targets if not (page.parent / target).exists()] == []
