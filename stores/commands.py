"""`nephrite setup`: what a full store needs before its first document, and once a day."""

import time
from typing import Annotated

import typer

from common.errors import UsageError
from common.options import ConfigFile, settings_of

_HELP = (
    "elasticsearch://HOST:PORT[,HOST:PORT][?OPTION=VALUE&...] with options profile (compact, opennms), fields, drop, "
    "source (none, aggregates, all), raw, prefix, shards, replicas, refresh_s, tls, ca_file, api_key_file, user, password_file, "
    "in_flight, retry_s, timeout_s. The same as for `nephrite flink submit --documents`; by default `store.url`."
)
Url = Annotated[str, typer.Argument(metavar="[TARGET]", help=_HELP)]


def app_commands(app: typer.Typer) -> None:
    """Registers `setup`."""
    app.command()(setup)


def setup(
    target: Url = "",
    config: ConfigFile = None,
    expire: Annotated[
        bool,
        typer.Option("--expire", help="Also delete indices older than configured, as `nephrite retention` does."),
    ] = False,
) -> None:
    """Install index templates, and lifecycle policies where the server has them; again after every upgrade."""
    from stores.elasticsearch import setup as steps
    from stores.elasticsearch.client import Client
    from stores.elasticsearch.target import Target

    settings = settings_of(config, None)
    if not (url := target or settings.store.url):
        raise UsageError("which Elasticsearch? give TARGET, or store.url in the settings")
    days = steps.days_of(settings.store)
    client = Client.open(Target.parse(url))
    for step in steps.install(client, days):
        typer.echo(step)
    if expire:
        for name in steps.expire(client, days, time.time()):
            typer.echo(f"deleted {name}")
