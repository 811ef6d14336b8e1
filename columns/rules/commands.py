"""`nephrite rules`: import, export, test and explain classification rules."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import pyarrow as pa
import typer
from pydantic import ValidationError

from columns.classify import NOTHING_KNOWN, Exporters, compile_book
from columns.inventory import Inventory
from columns.rules.cases import FlowText, Outcome, flow_of, read_cases, run_cases
from columns.rules.dry_run import dry_run
from columns.rules.explain import OneFlow, checks, matches
from columns.rules.files import read_book, read_text, write_whole
from columns.rules.model import USER_GROUP, Group, Rule, RuleBook
from columns.rules.predefined import default_book
from columns.rules.shadow import shadowed
from columns.rules.stored import stored_flows
from columns.rules.text import read_rules, write_rules
from columns.snapshot import open_snapshot
from common.addresses import pack_address
from common.errors import InputError, UsageError
from common.options import ConfigFile, settings_of
from common.rows import RowFormat, RowFormatOption, Value, render_rows

rules_app = typer.Typer(help="Classification rules: which application a flow is.", no_args_is_help=True)

RulesFile = Annotated[
    Path | None, typer.Option("--rules", "-r", metavar="FILE", help="CSV or YAML file of rules instead of the configured one.")
]
InventoryFile = Annotated[
    Path | None,
    typer.Option("--inventory", metavar="SNAPSHOT", help="What is known of exporters, instead of the configured snapshot."),
]
_MATCHES_SHOWN: Final = 20


def app_commands(app: typer.Typer) -> None:
    """Registers `rules`."""
    app.add_typer(rules_app, name="rules")


@rules_app.command("import")
def import_rules(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Rules in the CSV format of OpenNMS, today's or the older one.")],
    into: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of the configured file of rules.")] = None,
    config: ConfigFile = None,
) -> None:
    """Check a CSV file, all faults at once, and put it in force in place of the rules there were."""
    rules = read_rules(read_text(source), str(source))
    target = into or _configured(config)
    if target is None:
        raise UsageError("no file of rules to import into: give --into FILE, or set enrichment.rules in the configuration")
    if target.suffix.lower() != ".csv":
        raise UsageError(f"{target}: rules can be imported into a CSV file only; edit the groups of a YAML file by hand")
    write_whole(target, write_rules(rules))
    typer.echo(f"{len(rules)} rules imported into {target}")


@rules_app.command()
def export(
    rules: RulesFile = None,
    group: Annotated[str, typer.Option(help="The group to print; 'pre-defined' has IANA's services.")] = USER_GROUP,
    config: ConfigFile = None,
) -> None:
    """Print the rules of a group in the CSV format of OpenNMS."""
    book = _book(rules, config)
    found = next((each for each in book.groups if each.name == group), None)
    if found is None:
        raise UsageError(f"no group '{group}'; there are {', '.join(each.name for each in book.groups)}")
    typer.echo(write_rules(sorted(found.rules, key=lambda rule: rule.position)), nl=False)


@rules_app.command("test")
def check_rules(
    rules: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or YAML file of rules.")],
    cases: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML file of flows and their applications.")] = None,
    flows: Annotated[list[Path] | None, typer.Option(metavar="PATH", help="Parquet files or folders of stored flows.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rules to compare with instead of the configured ones.")
    ] = None,
    inventory: InventoryFile = None,
    form: RowFormatOption = RowFormat.TABLE,
    config: ConfigFile = None,
) -> None:
    """Check rules: faults, rules that can never match, test cases, and what would move among stored flows."""
    book = read_book(rules)
    if cases is not None:
        _run(book, cases, form)
    elif flows:
        _compare(_book(against, config), book, stored_flows(flows), _exporters(inventory, config), form)
    else:
        _check(book, form)


@rules_app.command()
def explain(
    protocol: Annotated[str | None, typer.Option(help="Keyword or number.")] = None,
    src_address: Annotated[str | None, typer.Option(help="Source address.")] = None,
    src_port: Annotated[int | None, typer.Option(help="Source port.")] = None,
    dst_address: Annotated[str | None, typer.Option(help="Destination address.")] = None,
    dst_port: Annotated[int | None, typer.Option(help="Destination port.")] = None,
    exporter: Annotated[str | None, typer.Option(help="Address of the exporter.")] = None,
    location: Annotated[str | None, typer.Option(help="Location of the exporter.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="A category of the exporter.")] = None,
    why_not: Annotated[str, typer.Option(metavar="NAME", help="Say why the rules of this name do not fit.")] = "",
    rules: RulesFile = None,
    inventory: InventoryFile = None,
    form: RowFormatOption = RowFormat.TABLE,
    config: ConfigFile = None,
) -> None:
    """Say which rules fit a flow, in the order in which they are asked: the first one names its application."""
    flow = _flow(
        protocol=protocol,
        srcAddress=src_address,
        srcPort=src_port,
        dstAddress=dst_address,
        dstPort=dst_port,
        exporterAddress=exporter,
        location=location,
        categories=tuple(category or ()),
    )
    if exporter is not None and not category:
        flow = replace(flow, exporter=_exporters(inventory, config).describe(pack_address(exporter), location))
    ranked = tuple(_book(rules, config).ranked())
    rows = _why_not(ranked, flow, why_not) if why_not else _fitting(ranked, flow)
    typer.echo(render_rows(("application", "group", "line", "verdict", "because"), rows, form), nl=False)


def _check(book: RuleBook, form: RowFormat) -> None:
    counted = ", ".join(f"{len(group.rules)} {group.name}" for group in book.groups if group.enabled)
    typer.echo(f"rules are usable: {counted}", err=True)
    rows = [
        (found.rule.name, found.group.name, found.rule.line or None, ", ".join(rule.name for rule in found.by) or "no flow fits it")
        for found in shadowed(book)
    ]
    typer.echo(f"{len(rows)} can never match", err=True)
    if rows or form is not RowFormat.TABLE:
        typer.echo(render_rows(("application", "group", "line", "hidden by"), rows, form), nl=False)


def _run(book: RuleBook, cases: Path, form: RowFormat) -> None:
    outcomes = run_cases(book, read_cases(read_text(cases), str(cases)))
    rows = [(_verdict(outcome), outcome.case.name, outcome.case.application, outcome.found) for outcome in outcomes]
    typer.echo(render_rows(("verdict", "case", "expected", "found"), rows, form), nl=False)
    failed = sum(not outcome.passed for outcome in outcomes)
    if failed:
        raise InputError(f"{cases}: {failed} of {len(outcomes)} cases failed")


def _verdict(outcome: Outcome) -> str:
    return "passed" if outcome.passed else "FAILED"


def _compare(before: RuleBook, after: RuleBook, flows: Iterable[pa.RecordBatch], exporters: Exporters, form: RowFormat) -> None:
    moves = dry_run(compile_book(before), compile_book(after), flows, exporters)
    rows = [(move.before, move.after, move.flows, move.octets) for move in moves if move.before != move.after]
    total = sum(move.octets for move in moves)
    moved = sum(octets for *_, octets in rows)
    typer.echo(f"{moved} of {total} octets move ({moved / max(total, 1):.1%})", err=True)
    typer.echo(render_rows(("before", "after", "flows", "octets"), rows, form), nl=False)


Row = tuple[Value, ...]


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


def _flow(**text: object) -> OneFlow:
    try:
        return flow_of(FlowText.model_validate(text))
    except ValidationError as error:
        faults = [f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()]
        raise UsageError("\n".join(faults)) from error


def _book(rules: Path | None, config: Path | None) -> RuleBook:
    path = rules or _configured(config)
    return default_book() if path is None else read_book(path)


def _exporters(inventory: Path | None, config: Path | None) -> Exporters:
    path = inventory or settings_of(config, None).enrichment.inventory
    return Inventory(open_snapshot(Path(path))) if path else NOTHING_KNOWN


def _configured(config: Path | None) -> Path | None:
    path = settings_of(config, None).enrichment.rules
    return Path(path) if path else None
