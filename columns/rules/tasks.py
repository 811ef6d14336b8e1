"""What the `nephrite rules` commands do, loaded when one of them is called.

In: paths and texts from the command line. Out: rows on the terminal. Refuses to know options.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import typer
from pydantic import ValidationError

from columns.classify import NOTHING_KNOWN, Exporters, compile_book
from columns.inventory import Inventory
from columns.rules.cases import FlowText, Outcome, known_flow, read_cases, run_cases
from columns.rules.dry_run import dry_run
from columns.rules.explain import OneFlow, checks, matches
from columns.rules.files import read_book, read_text, write_whole
from columns.rules.model import Group, Rule, RuleBook
from columns.rules.predefined import default_book
from columns.rules.shadow import shadowed
from columns.rules.text import read_rules, write_rules
from columns.snapshot import open_snapshot
from common.errors import InputError, UsageError
from common.rows import RowFormat, Value, render_rows

_MATCHES_SHOWN: Final = 20

Row = tuple[Value, ...]


def book_of(path: Path | None) -> RuleBook:
    """The rules of a file, or the pre-defined ones alone; raises ConfigError."""
    return default_book() if path is None else read_book(path)


def exporters_of(snapshot: Path | None) -> Exporters:
    """What a snapshot knows of exporters, or nothing; raises ConfigError."""
    return NOTHING_KNOWN if snapshot is None else Inventory(open_snapshot(snapshot))


def import_csv(source: Path, target: Path | None) -> None:
    """Check a file and put it in force; raises RuleFileError with every fault, UsageError for a target that cannot take it."""
    rules = read_rules(read_text(source), str(source))
    if target is None:
        raise UsageError("no file of rules to import into: give --into FILE, or set enrichment.rules in the configuration")
    if target.suffix.lower() != ".csv":
        raise UsageError(f"{target}: rules can be imported into a CSV file only; edit the groups of a YAML file by hand")
    write_whole(target, write_rules(rules))
    typer.echo(f"{len(rules)} rules imported into {target}")


def export_csv(book: RuleBook, group: str) -> None:
    """Print the rules of one group; raises UsageError if there is none of this name."""
    found = next((each for each in book.groups if each.name == group), None)
    if found is None:
        raise UsageError(f"no group '{group}'; there are {', '.join(each.name for each in book.groups)}")
    typer.echo(write_rules(sorted(found.rules, key=lambda rule: rule.position)), nl=False)


def explain_flow(book: RuleBook, exporters: Exporters, text: FlowText, why_not: str, form: RowFormat) -> None:
    """Print which rules fit a flow and why, or why those of one name do not."""
    flow = known_flow(text, exporters)
    ranked = tuple(book.ranked())
    rows = _why_not(ranked, flow, why_not) if why_not else _fitting(ranked, flow)
    typer.echo(render_rows(("application", "group", "line", "verdict", "because"), rows, form), nl=False)


def flow_text(**fields: object) -> FlowText:
    """A flow from options; raises UsageError with a line per fault."""
    try:
        return FlowText.model_validate(fields)
    except ValidationError as error:
        faults = [f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()]
        raise UsageError("\n".join(faults)) from error


def check(book: RuleBook, form: RowFormat) -> None:
    """Print the rules that can never match."""
    counted = ", ".join(f"{len(group.rules)} {group.name}" for group in book.groups if group.enabled)
    typer.echo(f"rules are usable: {counted}", err=True)
    rows = [
        (found.rule.name, found.group.name, found.rule.line or None, ", ".join(rule.name for rule in found.by) or "no flow fits it")
        for found in shadowed(book)
    ]
    typer.echo(f"{len(rows)} can never match", err=True)
    if rows or form is not RowFormat.TABLE:
        typer.echo(render_rows(("application", "group", "line", "hidden by"), rows, form), nl=False)


def run(book: RuleBook, cases: Path, form: RowFormat) -> None:
    """Print what the rules say to each case; raises InputError if one fails."""
    outcomes = run_cases(book, read_cases(read_text(cases), str(cases)))
    rows = [(_verdict(outcome), outcome.case.name, outcome.case.application, outcome.found) for outcome in outcomes]
    typer.echo(render_rows(("verdict", "case", "expected", "found"), rows, form), nl=False)
    failed = sum(not outcome.passed for outcome in outcomes)
    if failed:
        raise InputError(f"{cases}: {failed} of {len(outcomes)} cases failed")


def _verdict(outcome: Outcome) -> str:
    return "passed" if outcome.passed else "FAILED"


def compare(before: RuleBook, after: RuleBook, flows: Iterable[pa.RecordBatch], exporters: Exporters, form: RowFormat) -> None:
    """Print what moves from which application to which."""
    moves = dry_run(compile_book(before), compile_book(after), flows, exporters)
    rows = [(move.before, move.after, move.flows, move.octets) for move in moves if move.before != move.after]
    total = sum(move.octets for move in moves)
    moved = sum(octets for *_, octets in rows)
    typer.echo(f"{moved} of {total} octets move ({moved / max(total, 1):.1%})", err=True)
    typer.echo(render_rows(("before", "after", "flows", "octets"), rows, form), nl=False)


def _fitting(ranked: Sequence[tuple[Group, Rule]], flow: OneFlow) -> Iterator[Row]:
    for number, match in enumerate(matches(ranked, flow)):
        if number == _MATCHES_SHOWN:
            return
        because = "; ".join(str(check) for check in match.checks)
        verdict = ("wins" if not number else "fits too") + (", ends interchanged" if match.reversed else "")
        yield match.rule.name, match.group.name, match.rule.line or None, verdict, because


def _why_not(ranked: Sequence[tuple[Group, Rule]], flow: OneFlow, name: str) -> Iterator[Row]:
    named = [(group, rule) for group, rule in ranked if rule.name == name]
    if not named:
        raise UsageError(f"no rule of the name '{name}' is in force")
    for group, rule in named:
        for reverse in range(len(rule.directions())):
            found = checks(rule, flow, bool(reverse))
            verdict = "fits" if all(check.holds for check in found) else "does not fit"
            because = "; ".join(str(check) for check in found if not check.holds) or "; ".join(map(str, found))
            yield rule.name, group.name, rule.line or None, verdict + (", ends interchanged" if reverse else ""), because
