"""The speed table of the pipeline: CPU per flow on the in-process runner and on Flink, by interfaces, hosts and K.

In: which cases, how much traffic. Out: one line of the table after another, and the page that holds the table. CPU time only: it is
what stays comparable on a machine that others use, too.
"""

import platform
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import on_flink, pipeline
from bench.cases import CASES, LANES, QUICK, Case, Entries, seconds_of
from bench.pipeline import Figures
from common.config import Pipeline, Settings
from flink.distribution import cache_folder
from flink.errors import FlinkError
from flink.jobserver import runner_jar
from ingest.loadgen.scenario import Scenario

RATE: Final = 100_000
_SECONDS: Final = (60, 20)
"""Of traffic: in the whole table and in the quick one."""
_GENERATED_S: Final = 5
HEAD: Final = (
    "| exporters | interfaces | hosts | K | documents a minute | in-process runner | budget | Flink: worker + JVMs | budget "
    "| flows/s on Flink | in-process, by stage | Flink, by process |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)
_BUDGETS: Final = {(400, 10): ("3", "4"), (2_000, 10): ("5", "5")}
"""By interfaces and K, on either runner; the other rows are there to be seen."""
_TABLE: Final = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def lines(quick: bool, flink: bool, tell: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The table, line by line, as it is measured; `tell` hears what is being done."""
    yield HEAD
    seconds, cases = _SECONDS[quick], QUICK if quick else CASES
    started = time.monotonic()
    parts: list[Entries] = []
    before: Scenario | None = None
    for number, case in enumerate(cases, 1):
        at = f"row {number} of {len(cases)}, {case.interfaces:,} interfaces, K = {case.top_k}"

        def now(doing: str, at: str = at) -> None:
            tell(f"{(time.monotonic() - started) / 60:.1f} min: {at}: {doing}")

        if case.scenario != before:
            now("making traffic")
            parts, before = list(seconds_of(case, RATE, seconds, _GENERATED_S)), case.scenario
        settings = Settings(pipeline=Pipeline(top_k=case.top_k))
        now("in-process runner")
        direct = pipeline.run(parts, settings, raw=False)
        if flink:
            now("Flink")
        yield _line(case, seconds, direct, _on_flink(parts, settings, now) if flink else None)


def _on_flink(parts: list[Entries], settings: Settings, tell: Callable[[str], None]) -> Figures | None:
    """None where it did not come to an end: the other rows are worth having all the same."""
    try:
        return on_flink.run(parts, settings)
    except (FlinkError, TimeoutError) as error:
        tell(f"no figure: {error}")
        return None


def _line(case: Case, seconds: int, direct: Figures, flink: Figures | None) -> str:
    hosts = " + ".join(f"{count:,}" for count in case.hosts)
    per_minute = f"{direct.documents * 60 // seconds:,}"
    budget = _BUDGETS.get((case.interfaces, case.top_k), ("-", "-"))
    there = ("-", budget[1], "-") if flink is None else (f"{flink.us_per_flow:.2f}", budget[1], f"{flink.flows_per_second:,.0f}")
    split = (_split(direct), "-" if flink is None else _split(flink))
    cells = (case.exporters, case.interfaces, hosts, case.top_k, per_minute, f"{direct.us_per_flow:.2f}", budget[0], *there, *split)
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"


def _split(figures: Figures) -> str:
    return ", ".join(f"{name} {us:.2f}" for name, us in figures.us_by_part.items() if us >= 0.005)


def circumstances(quick: bool) -> str:
    """What the figures were measured on."""
    try:
        pair = str(runner_jar(cache_folder()).pair)
    except FlinkError as error:
        pair = f"no Flink ({error})"
    return (
        f"{_SECONDS[quick]} s of traffic at {RATE:,} flows a second in {LANES} lanes; {pair}; Python {platform.python_version()}, "
        f"{platform.machine()}."
    )


def write_page(page: Path, table: str) -> None:
    """Puts the table between the marks of a page; raises ValueError where there are none."""
    text = page.read_text(encoding="utf-8")
    if not _TABLE.search(text):
        raise ValueError(f"{page}: no <!-- table --> ... <!-- end -->")
    page.write_text(_TABLE.sub(lambda _: f"{table}\n", text), encoding="utf-8")


def measure(
    quick: bool, flink: bool, page: Path | None, show: Callable[[str], None], tell: Callable[[str], None] = lambda _: None
) -> None:
    """Measures, shows, and writes what there is after each row: one that takes too long loses nothing."""
    found = [circumstances(quick), ""]
    show(found[0])
    for line in lines(quick, flink, tell):
        show(line)
        found.append(line)
        if page and line != HEAD:
            write_page(page, "\n".join(found))
