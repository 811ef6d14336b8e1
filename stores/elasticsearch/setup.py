"""Templates and lifecycle policies into a server, and expiry by age where the server has none.

In: a target and how long to keep what. Out: what was done, line by line. Refuses to touch indices and templates of other names.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from common.errors import StoreError
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import RAW, day_of_index, pattern
from stores.elasticsearch.templates import templates, with_lifecycle

_MISSING: Final = 404


def install(client: Client, days: dict[str, float]) -> Iterator[str]:
    """Installs everything, and tells each step; `days` to keep each kind. Raises StoreError."""
    target = client.target
    version = client.ask("GET", "/").get("version", {}).get("number", "of unknown version")
    yield f"{target.place}, version {version}, profile {target.profile}, _source kept of: {target.source}"
    lifecycle = has_lifecycle(client)
    for name, template in templates(target).items():
        kind = name.removeprefix(target.prefix)
        if lifecycle and kind in days:
            client.ask("PUT", f"/_ilm/policy/{name}", policy(days[kind]))
            template = with_lifecycle(template, name)
            yield f"lifecycle policy {name}: deleted after {days[kind]:g} days"
        client.ask("PUT", f"/_index_template/{name}", template)
        yield f"index template {name} for {', '.join(template['index_patterns'])}"
    if not lifecycle:
        yield "this server has no lifecycle management: run this command with --expire once a day"


def require_templates(client: Client) -> None:
    """Raises StoreError where nothing was installed: the server would guess all fields. A user who may not look is believed."""
    name = f"{client.target.prefix}{RAW}"
    if client.send("GET", f"/_index_template/{name}").status == _MISSING:
        raise StoreError(f"{client.target.place}: index template {name} is missing: run `nephrite setup` with this target first")


def has_lifecycle(client: Client) -> bool:
    """Whether the server has ILM; its minimal builds answer that there is no such request."""
    return client.send("GET", "/_ilm/status").status < 300


def policy(days: float) -> dict[str, Any]:
    """Deletes a daily index: the age counts from its creation, so one day more than asked for is kept."""
    return {
        "policy": {"phases": {"hot": {"actions": {}}, "delete": {"min_age": f"{round(days * 24)}h", "actions": {"delete": {}}}}}
    }


def expire(client: Client, days: dict[str, float], now_s: float) -> Iterator[str]:
    """Deletes daily indices that are older than `days` of their kind; yields their names. Raises StoreError."""
    prefix = client.target.prefix
    today = datetime.fromtimestamp(now_s, UTC).date()
    for kind, kept in days.items():
        for name in sorted(client.ask("GET", f"/{pattern(prefix, kind)}?filter_path=*.settings.index.uuid")):
            day = day_of_index(prefix, kind, name)
            if day is not None and _is_over(day, kept, today):
                client.ask("DELETE", f"/{name}")
                yield name


def _is_over(day: date, kept: float, today: date) -> bool:
    return day + timedelta(days=1 + kept) < today
