"""The speed table of the pipeline: CPU per flow on the in-process runner and on Flink, by interfaces, hosts and K.

In: which cases, how much traffic. Out: one line of the table after another, and the page that holds the table. CPU time only: it is
what stays comparable on a machine that others use, too.
"""

import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import on_flink, pipeline
from bench.cases import CASES, LANES, QUICK, Case, seconds_of
from bench.pipeline import Figures
from common.config import Pipeline, Settings
from flink.distribution import cache_folder
from flink.errors import FlinkError
from flink.jobserver import runner_jar

RATE: Final = 100_000
_SECONDS: Final = (60, 20)
"""Of traffic: in the whole table and in the quick one."""
_GENERATED_S: Final = 5
HEAD: Final = (
    "| exporters | interfaces | hosts | K | documents a minute | in-process runner | Flink: worker + JVMs | flows/s on Flink |\n"
    "|---|---|---|---|---|---|---|---|"
)
_TABLE: Final = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def lines(quick: bool, flink: bool) -> Iterator[str]:
    """The table, line by line, as it is measured."""
    yield HEAD
    seconds = _SECONDS[quick]
    for case in QUICK if quick else CASES:
        parts = list(seconds_of(case, RATE, seconds, _GENERATED_S))
        settings = Settings(pipeline=Pipeline(top_k=case.top_k))
        direct = pipeline.run(parts, settings, raw=False)
        yield _line(case, seconds, direct, on_flink.run(parts, settings) if flink else None)


def _line(case: Case, seconds: int, direct: Figures, flink: Figures | None) -> str:
    hosts = " + ".join(f"{count:,}" for count in case.hosts)
    per_minute = f"{direct.documents * 60 // seconds:,}"
    there = ("-", "-") if flink is None else (f"{flink.us_per_flow:.2f}", f"{flink.flows / flink.wall_s:,.0f}")
    cells = (case.exporters, case.interfaces, hosts, case.top_k, per_minute, f"{direct.us_per_flow:.2f}", *there)
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"


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


def measure(quick: bool, flink: bool, page: Path | None, show: Callable[[str], None]) -> None:
    """Measures, shows and writes."""
    found = [circumstances(quick), ""]
    show(found[0])
    for line in lines(quick, flink):
        show(line)
        found.append(line)
    if page:
        write_page(page, "\n".join(found))
