"""Templates and lifecycle policies into a server, and expiry by age where the server has none.

In: a target and how long to keep what. Out: what was done, line by line. Refuses to touch indices and templates of other names.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from common.config import Store
from common.errors import StoreError
from flowpb.ledger import LEVEL_LEDGER
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import DEAD_LETTERS, KIND_OF, LEDGER, PARTIALS, RAW, REPAIRS, last_day_of_index, pattern
from stores.elasticsearch.templates import templates, with_lifecycle
from stores.retention import limits_of

_MISSING: Final = 404
_REFUSED: Final = {
    401: "the server does not know us: look at api_key_file, or user and password_file",
    403: "the server knows us, but not as one who may do this: look at the privileges of the key or user",
}
_OLDEST: Final = (8, 19)
"""The oldest version that documents, templates and answers were seen to work with."""
_KIND: Final = {"raw": RAW, LEVEL_LEDGER: LEDGER, **KIND_OF}


def install(client: Client, days: dict[str, float]) -> Iterator[str]:
    """Installs everything, and tells each step; `days` to keep each kind. Raises StoreError."""
    target = client.target
    yield f"{target.place}, version {_version_of(client)}, profile {target.profile}, _source kept of: {target.source}"
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


def examine(client: Client) -> str:
    """What a server is, in one line, where it can be used as it is; else raises StoreError with what to do about it."""
    place = client.target.place
    number = _version_of(client)
    for name in templates(client.target):
        answer = client.send("GET", f"/_index_template/{name}")
        if answer.status == _MISSING:
            raise StoreError(f"{place}: index template {name} is missing: run `nephrite setup`")
        if answer.status in _REFUSED:  # a reader's key needs no more than to read
            return f"{place} answers, version {number}; whether `nephrite setup` was run this user may not see"
    return f"{place} answers, version {number}; its templates are installed"


def _version_of(client: Client) -> str:
    """The version of a server that documents can be written to; raises StoreError for any other."""
    place = client.target.place
    answer = client.send("GET", "/")
    if answer.status in _REFUSED:
        raise StoreError(f"{place}: {_REFUSED[answer.status]} ({answer.reason})")
    if answer.status >= 300 or not isinstance(answer.content, dict) or "version" not in answer.content:
        raise StoreError(f"{place}: answers, but not as Elasticsearch does ({answer.reason})")
    version = answer.content["version"]
    number = str(version.get("number", ""))
    if version.get("distribution"):
        raise StoreError(f"{place}: {version['distribution']} {number} is not Elasticsearch")
    major, minor = (int(part) if part.isdigit() else 0 for part in (*number.split("."), "0", "0")[:2])
    if (major, minor) < _OLDEST:
        raise StoreError(f"{place}: version {number} is too old, {'.'.join(map(str, _OLDEST))} or later is needed")
    return number


def has_lifecycle(client: Client) -> bool:
    """Whether the server has ILM; its minimal builds answer that there is no such request."""
    return client.send("GET", "/_ilm/status").status < 300


def policy(days: float) -> dict[str, Any]:
    """Deletes a daily index: the age counts from its creation, so one day more than asked for is kept."""
    return {
        "policy": {"phases": {"hot": {"actions": {}}, "delete": {"min_age": f"{round(days * 24)}h", "actions": {"delete": {}}}}}
    }


def days_of(settings: Store) -> dict[str, float]:
    """How many days indices of each kind are kept."""
    days = {_KIND[level]: limit.days for level, limit in limits_of(settings).items()}
    return {**days, REPAIRS: settings.aggregate_days}


def expire(client: Client, days: dict[str, float], now_s: float) -> Iterator[str]:
    """Deletes indices all of whose days are older than `days` of their kind; yields their names. Raises StoreError."""
    prefix = client.target.prefix
    today = datetime.fromtimestamp(now_s, UTC).date()
    for kind, kept in days.items():
        for name in sorted(client.ask("GET", f"/{pattern(prefix, kind)}?filter_path=*.settings.index.uuid")):
            day = last_day_of_index(prefix, kind, name)
            if day is not None and _is_over(day, kept, today):
                client.ask("DELETE", f"/{name}")
                yield name


def shrink(client: Client, settings: Store) -> Iterator[str]:
    """Deletes the oldest indices of levels that are too large, then of all; never the newest of a kind. Raises StoreError."""
    left: list[tuple[str, int]] = []
    for level, limit in limits_of(settings).items():
        found = _sizes(client, _KIND[level])
        gone = _beyond(found[:-1], limit.bytes - sum(size for _, size in found[-1:])) if limit.bytes else 0
        left += found[gone:-1]
        yield from _delete(client, found[:gone])
    held = sum(size for _, size in _sizes(client, "")) - sum(size for _, size in left)
    yield from _delete(client, left[: _beyond(left, settings.max_bytes - held)])


def _sizes(client: Client, kind: str) -> list[tuple[str, int]]:
    """Indices of a kind, or ours of all, with their octets on all nodes, oldest first."""
    prefix = client.target.prefix
    kinds = [kind] if kind else [*_KIND.values(), PARTIALS, DEAD_LETTERS]
    places = ",".join(pattern(prefix, each) for each in kinds)
    found = client.ask("GET", f"/{places}/_stats/store?filter_path=indices.*.total.store.size_in_bytes").get("indices", {})
    sizes = {name: int(stats["total"]["store"]["size_in_bytes"]) for name, stats in found.items()}
    if not kind:
        return sorted(sizes.items())
    dated = [(day, name) for name in sizes if (day := last_day_of_index(prefix, kind, name))]
    return [(name, sizes[name]) for _, name in sorted(dated)]


def _beyond(indices: Sequence[tuple[str, int]], most: int) -> int:
    """How many of the first have to go so that the rest is no larger than `most`."""
    excess = sum(size for _, size in indices) - most
    for count, (_, size) in enumerate(indices):
        if excess <= 0:
            return count
        excess -= size
    return len(indices)


def _delete(client: Client, indices: Sequence[tuple[str, int]]) -> Iterator[str]:
    for name, _ in indices:
        client.ask("DELETE", f"/{name}")
        yield name


def _is_over(day: date, kept: float, today: date) -> bool:
    return day + timedelta(days=1 + kept) < today
