"""`nephrite top`, `series`, `flows`, `exporters`, `retention`, `serve`: the question side of the command line.

In: arguments. Out: a question to the store and its answer on standard output. Refuses to compute. Heavy parts are imported when a
command runs, so that `--help` is quick.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from common.addresses import format_address, pack_address
from common.clock import wall_clock
from common.config import Settings
from common.errors import StoreError, UsageError
from common.options import ConfigFile, DataDir, settings_of, store_of
from common.process import stop_event
from query.output import Format, Sheet, show_bytes, write
from query.planner import DAY_MS, Asked, Plan, plan, plan_flows, receive_range, usual_step
from query.ranked import SHIPPED, ranked_of
from query.times import parse_duration, parse_time, show_span
from stores.questions import NO_APPLICATION, Filters, FlowsQuery, Items, LedgerQuery, Order, SeriesQuery, Span, TopQuery

if TYPE_CHECKING:
    from common.config import Store as StoreSettings
    from stores.contract import Provenance, Store

_NONE: Final = "none"
_ITEMS: Final = "|".join([*(items.value for items in Items), *SHIPPED, "NAME"])
_RANKED: Final = ", ".join([*(items.value for items in Items), *SHIPPED, "or a grouping of yours"])
_TARGET: Final = "elasticsearch://HOST:PORT as for `nephrite setup`, or `store.url`; else the data folder, as `nephrite up` does."
_TIMES: Final = "ISO 8601 (UTC), epoch seconds or ms, -15m, -4h, -7d or now"
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"Begin of the range: {_TIMES}.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="End of the range, exclusive; now by default.")]
Exporter = Annotated[str | None, typer.Option("--exporter", "-e", metavar="ADDRESS", help="Only what this exporter saw.")]
Interface = Annotated[int | None, typer.Option("--interface", "-i", min=0, metavar="IFINDEX", help="Only through this interface.")]
Application = Annotated[
    str | None, typer.Option("--application", "-a", metavar="NAME", help=f"Only this application; `{_NONE}` for flows without one.")
]
Host = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Only flows from or to this address.")]
Location = Annotated[str | None, typer.Option("--location", metavar="NAME", help="Only exporters of this location.")]
Exact = Annotated[bool, typer.Option("--exact", help="Begin and end to the millisecond, from raw flows; else whole minutes.")]
Form = Annotated[Format, typer.Option("--format", "-f", help="How the answer is written.")]
Count = Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many items.")]


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, the settings that named it, and the moment of the question."""

    store: "Store"
    settings: Settings
    now_ms: int

    def honest(self, sheet: Sheet, plan: Plan, filters: Filters, packets: Sequence[int] = ()) -> Sheet:
        """The sheet of an answer with its completeness and the error of sampling."""
        from query.honesty import honest

        ledger = self.store.ledger(LedgerQuery(self.receive_span(plan.span), filters.exporter))
        return honest(sheet, ledger, plan.source, packets)

    def receive_span(self, span: Span) -> Span:
        """The receive minutes in which an answer's flows came."""
        from query.honesty import joined

        return joined(span, self.settings.ingest.active_timeout_s)


def app_commands(app: typer.Typer) -> None:
    """Registers `top`, `series`, `flows`, `exporters`, `ledger`, `retention` and `serve`."""
    for command in (top, series, flows, exporters, ledger, retention, serve):
        app.command()(command)


def top(
    items: Annotated[str, typer.Argument(metavar=_ITEMS, help=f"What to rank: {_RANKED}.")],
    exporter: Exporter = None,
    interface: Interface = None,
    application: Application = None,
    host: Host = None,
    location: Location = None,
    since: From = None,
    until: To = None,
    exact: Exact = False,
    count: Count = 10,
    form: Form = Format.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show the largest applications, hosts, conversations, interfaces, exporters and so on of the last hour, or of a range."""
    from query.sheets import top_sheet

    filters = filters_of(exporter, interface, application, host, location)
    ranked = ranked_of(items, settings_of(config, data_dir).pipeline.groupings)
    with opened(config, data_dir) as at:
        asked = asked_of(since, until, at.now_ms, exact)
        chosen = plan(at.store, asked, at.now_ms, ranked, filters)
        answer = at.store.top(TopQuery(ranked, chosen.span, filters, chosen.source, count, chosen.pieces))
        packets = [answer.total.packets_total, *(item.measures.packets_total for item in answer.items)]
        sheet = at.honest(top_sheet(answer, ranked, filters, chosen), chosen, filters, packets)
        show(sheet, form, answer.provenance, chosen)


def series(
    items: Annotated[
        str | None, typer.Argument(metavar=f"[{_ITEMS}]", help=f"Tell these apart: {_RANKED}; without it, all traffic together.")
    ] = None,
    step: Annotated[str | None, typer.Option(metavar="DURATION", help="Whole minutes per step, like 5m or 1h.")] = None,
    exporter: Exporter = None,
    interface: Interface = None,
    application: Application = None,
    host: Host = None,
    location: Location = None,
    since: From = None,
    until: To = None,
    count: Count = 5,
    form: Form = Format.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show traffic over time: all of it, or the largest items and the rest."""
    from query.sheets import series_sheet

    filters = filters_of(exporter, interface, application, host, location)
    wanted_ms = None if step is None else _step_ms(step)
    ranked = None if items is None else ranked_of(items, settings_of(config, data_dir).pipeline.groupings)
    with opened(config, data_dir) as at:
        asked = asked_of(since, until, at.now_ms)
        step_ms = wanted_ms or usual_step(at.store, asked, at.now_ms, ranked, filters)
        chosen = plan(at.store, asked, at.now_ms, ranked, filters, step_ms=step_ms)
        answer = at.store.series(SeriesQuery(ranked, chosen.span, filters, chosen.source, step_ms, count, chosen.pieces))
        packets = [sum(answer.points["packets_total"].to_pylist())]
        sheet = at.honest(series_sheet(answer, ranked, filters, step_ms, chosen), chosen, filters, packets)
        show(sheet, form, answer.provenance, chosen)


def flows(
    exporter: Exporter = None,
    interface: Interface = None,
    application: Application = None,
    host: Host = None,
    location: Location = None,
    since: From = None,
    until: To = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="No more flows than these.")] = 50,
    order: Annotated[Order, typer.Option(help="Which flows come first.")] = "newest",
    form: Form = Format.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """List raw flows of the last hour, or of a range, as they were exported."""
    from query.sheets import flows_sheet

    filters = filters_of(exporter, interface, application, host, location)
    with opened(config, data_dir) as at:
        chosen = plan_flows(at.store, asked_of(since, until, at.now_ms), at.now_ms)
        answer = at.store.flows(FlowsQuery(chosen.span, filters, limit, order))
        sheet = at.honest(flows_sheet(answer, filters, order, chosen), chosen, filters)
        show(sheet, form, answer.provenance, chosen)


def exporters(
    since: From = None,
    until: To = None,
    form: Form = Format.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """List the exporters of the last day, or of a range: interfaces, traffic, protocols, first and last seen."""
    from query.ledger_sheet import losses_by_exporter
    from query.sheets import exporters_sheet

    with opened(config, data_dir) as at:
        chosen = plan(at.store, asked_of(since, until, at.now_ms), at.now_ms, Items.EXPORTERS, Filters(), DAY_MS)
        answer = at.store.exporters(chosen.span, chosen.source, chosen.pieces)
        losses = losses_by_exporter(at.store.ledger(LedgerQuery(at.receive_span(chosen.span))))
        sheet = at.honest(exporters_sheet(answer, chosen, losses), chosen, Filters())
        show(sheet, form, answer.provenance, chosen)


def ledger(
    exporter: Exporter = None,
    since: From = None,
    until: To = None,
    step: Annotated[str | None, typer.Option(metavar="DURATION", help="A row per step, like 1m or 1h.")] = None,
    each: Annotated[bool, typer.Option("--each", help="With --step: a row per step and exporter.")] = False,
    form: Form = Format.TABLE,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show what came and what was lost, and where: on the way, at the collector, undecodable, on the bus, late."""
    from query.ledger_sheet import ledger_sheet

    filters = filters_of(exporter, None, None, None)
    step_ms = None if step is None else _step_ms(step)
    with opened(config, data_dir) as at:
        span = receive_range(asked_of(since, until, at.now_ms), at.now_ms)
        query = LedgerQuery(span, filters.exporter, step_ms is None or each, step_ms)
        answer = at.store.ledger(query)
        if answer.data is None:
            raise StoreError(f"the ledger has nothing of {show_span(span)}")
        write(ledger_sheet(answer, query), form)


def retention(
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help=_TARGET)] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Delete what is older or larger than configured, level by level, and merge small files."""
    settings = settings_of(config, data_dir)
    if url := target or store_of(settings, data_dir):
        _expire_indices(url, settings.store)
        return
    from stores.parquet.manifest import Manifest
    from stores.parquet.upkeep import maintain

    folder = Path(settings.data_dir)
    Manifest.open(folder, writer=False).close()
    with Manifest.open(folder, writer=True) as manifest:
        done = maintain(manifest, settings.store, wall_clock(), merges=1000)
    typer.echo(
        f"expired files: {done.expired_files} ({show_bytes(done.expired_bytes)}), merges: {done.merges},"
        f" deleted files: {done.deleted}; what was replaced now is deleted by the next call after a minute"
    )


def _expire_indices(target: str, limits: "StoreSettings") -> None:
    from stores.elasticsearch import setup
    from stores.elasticsearch.client import Client
    from stores.elasticsearch.target import Target

    client = Client.open(Target.parse(target))
    names = [*setup.expire(client, setup.days_of(limits), wall_clock() / 1000), *setup.shrink(client, limits)]
    for name in names:
        typer.echo(f"deleted {name}")
    typer.echo(f"{len(names)} indices deleted")


def serve(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Answer over HTTP: rules and groups of rules as OpenNMS's /rest/classifications, /healthz."""
    from query.serve import serving

    settings = settings_of(config, data_dir)
    stopped = stop_event()
    with serving(settings) as port:
        typer.echo(f"serve ready: http://{settings.query.host}:{port}", err=True)
        stopped.wait()


@contextmanager
def opened(config: Path | None, data_dir: Path | None) -> Iterator[Opened]:
    """The store that the settings name; raises ConfigError and StoreError."""
    settings = settings_of(config, data_dir)
    from stores.open import open_store

    with open_store(store_of(settings, data_dir), Path(settings.data_dir), settings.pipeline.both_sides) as store:
        yield Opened(store, settings, wall_clock())


def filters_of(
    exporter: str | None, interface: int | None, application: str | None, host: str | None, location: str | None = None
) -> Filters:
    """Options as filters; raises UsageError for an address that is none."""
    chosen = NO_APPLICATION if application == _NONE else application
    return Filters(_address(exporter, "--exporter"), interface, chosen, _address(host, "--host"), location)


def asked_of(since: str | None, until: str | None, now_ms: int, exact: bool = False) -> Asked:
    """Options as a range; raises UsageError."""
    first, last = (None if text is None else parse_time(text, now_ms) for text in (since, until))
    return Asked(first, last, exact)


def show(sheet: Sheet, form: Format, provenance: "Provenance", chosen: Plan) -> None:
    """Writes an answer; raises StoreError where it is about nothing at all."""
    if provenance.data is None:
        raise StoreError(f"no traffic matches in {show_span(chosen.span)}")
    write(sheet, form)


def _address(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        return format_address(pack_address(text))
    except ValueError as error:
        raise UsageError(f"{option} {text}: not an IP address") from error


def _step_ms(text: str) -> int:
    step_ms = parse_duration(text)
    if step_ms % 60_000:
        raise UsageError(f"--step {text}: steps are whole minutes")
    return step_ms
