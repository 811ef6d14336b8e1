"""A soak, and the page that its table is put into.

In: which of the two, how long, how much. Out: its figures as JSON, and the part of the page between its marks.
"""

import platform
import re
from pathlib import Path
from typing import Any, Final

from bench import on_flink, soak, soak_up
from bench.cases import CASES

_MARKS: Final = {True: "flink", False: "up"}


def measure(flink: bool, minutes: float, idle_minutes: float, rate: int, page: Path | None, show: soak.Show) -> dict[str, Any]:
    """Runs it, and writes the page; raises ValueError, before anything runs, for a page without marks."""
    if page:
        _part(page.read_text(encoding="utf-8"), flink)
    found = soak.flink(minutes, idle_minutes, rate, show) if flink else soak_up.up(minutes, rate, show)
    if page:
        text = page.read_text(encoding="utf-8")
        begin, end = _part(text, flink)
        page.write_text(text[:begin] + told(found, flink, minutes, rate) + text[end:], encoding="utf-8")
    return found.as_json()


def told(found: soak.Soak, flink: bool, minutes: float, rate: int) -> str:
    """What was measured, and the table."""
    case = CASES[1]
    speed = (
        f"{rate:,} flows a second of virtual time, {soak.PACE} of its seconds in each"
        if flink
        else f"{rate:,} flows a second over UDP"
    )
    pair = f"; {on_flink.pair()}" if flink else ""
    parts = [
        f"{minutes:g} minutes, {speed}, {case.exporters} exporters, {case.interfaces} interfaces{pair}; Python "
        f"{platform.python_version()}, {platform.machine()}, beside other work on two cores.",
        f"Sent: {found.sent.flows:,} flows, {found.sent.octets:,} octets. In the documents: {found.written.flows:,} flows, "
        f"{found.written.octets:,} octets. {', '.join(f'{name} {value:,g}' for name, value in found.counts.items())}.",
    ]
    if found.idle:
        slopes = ", ".join(f"{name} {figures['mb_per_hour']:+g}" for name, figures in found.idle.slopes.items())
        parts.append(f"Before that {len(found.idle.rows)} minutes with nothing to do, MB an hour over their second half: {slopes}.")
    return "\n\n".join(["", *parts, "\n".join(soak.lines(found)), ""]) + "\n"


def _part(text: str, flink: bool) -> tuple[int, int]:
    mark = _MARKS[flink]
    found = re.search(rf"(?<=<!-- {mark} -->\n)[\s\S]*?(?=<!-- end {mark} -->)", text)
    if not found:
        raise ValueError(f"no <!-- {mark} --> ... <!-- end {mark} --> in the page")
    return found.span()
