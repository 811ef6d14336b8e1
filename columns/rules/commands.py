"""`nephrite rules`: import, export, test and explain classification rules."""

from pathlib import Path
from typing import Annotated

import typer

from common.options import ConfigFile, settings_of
from common.rows import RowFormat, RowFormatOption

rules_app = typer.Typer(help="Classification rules: which application a flow is.", no_args_is_help=True)

RulesFile = Annotated[
    Path | None, typer.Option("--rules", "-r", metavar="FILE", help="CSV or YAML file of rules instead of the configured one.")
]
InventoryFile = Annotated[
    Path | None,
    typer.Option("--inventory", metavar="SNAPSHOT", help="What is known of exporters, instead of the configured snapshot."),
]


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
    from columns.rules import tasks

    tasks.import_csv(source, into or _configured_rules(config))


@rules_app.command()
def export(
    rules: RulesFile = None,
    group: Annotated[str, typer.Option(help="The group to print; 'pre-defined' has IANA's services.")] = "user-defined",
    config: ConfigFile = None,
) -> None:
    """Print the rules of a group in the CSV format of OpenNMS."""
    from columns.rules import tasks

    tasks.export_csv(tasks.book_of(rules or _configured_rules(config)), group)


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
    from columns.rules import tasks
    from columns.rules.stored import stored_flows

    book = tasks.book_of(rules)
    if cases is None and not flows:
        tasks.check(book, form)
    if cases is not None:
        tasks.run(book, cases, form)
    if flows:
        before, exporters = tasks.book_of(against or _configured_rules(config)), tasks.exporters_of(inventory or _snapshot(config))
        tasks.compare(before, book, stored_flows(flows), exporters, form)


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
    from columns.rules import tasks

    flow = tasks.flow_text(
        protocol=protocol,
        srcAddress=src_address,
        srcPort=src_port,
        dstAddress=dst_address,
        dstPort=dst_port,
        exporterAddress=exporter,
        location=location,
        categories=tuple(category or ()),
    )
    book = tasks.book_of(rules or _configured_rules(config))
    tasks.explain_flow(book, tasks.exporters_of(inventory or _snapshot(config)), flow, why_not, form)


def _configured_rules(config: Path | None) -> Path | None:
    path = settings_of(config, None).enrichment.rules
    return Path(path) if path else None


def _snapshot(config: Path | None) -> Path | None:
    path = settings_of(config, None).enrichment.inventory
    return Path(path) if path else None
