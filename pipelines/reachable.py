"""`nephrite config check --connect`: can what the configuration names be used from here, now?

In: settings. Out: one line per part, and what is wrong with it. Makes nothing: a topic that is missing is told, not made.
"""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bus.open import parse_url
from columns.enrich import Enricher
from common.config import Settings
from common.errors import NephriteError
from stores.parquet.layout import manifest_path
from stores.parquet.manifest import Manifest

_CONNECT_S: Final = 5.0


class Finding(NamedTuple):
    """One part: what was tried, and either what was found or what is wrong."""

    what: str
    found: str
    wrong: bool = False


def try_out(settings: Settings) -> Iterator[Finding]:
    """Everything that is configured, in the order of the line."""
    for what, attempt in _attempts(settings):
        try:
            yield Finding(what, attempt())
        except NephriteError as error:
            yield Finding(what, str(error), wrong=True)
        except OSError as error:
            yield Finding(what, error.strerror or str(error), wrong=True)


def _attempts(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    data_dir = Path(settings.data_dir)
    yield "data_dir", lambda: _folder(data_dir)
    for name, url, append_times in (
        ("bus.url", settings.bus.url, True),
        ("ingest.flow_documents", settings.ingest.flow_documents, False),
        ("pipeline.flow_documents_in", settings.pipeline.flow_documents_in, False),
        ("pipeline.flow_documents_out", settings.pipeline.flow_documents_out, False),
    ):
        if url:
            yield name, lambda url=url, append_times=append_times: _bus(url, data_dir, append_times)  # type: ignore[misc]
    if settings.store.url:
        yield "store.url", lambda: _elasticsearch(settings.store.url)
    yield "enrichment", lambda: _enrichment(settings)
    if settings.series.graphite:
        yield "series.graphite", lambda: _listens(settings.series.graphite)
    if settings.series.prometheus:
        parts = urlsplit(settings.series.prometheus)
        place = f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"
        yield "series.prometheus", lambda: _listens(place)


def _folder(path: Path) -> str:
    place = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(13, f"{place} cannot be written")
    if not manifest_path(path).exists():
        return f"{path} can be written; it has no data yet"
    with Manifest.open(path, writer=False) as manifest:
        return f"{path} can be written; {manifest.status().run} runs are in its manifest"


def _bus(url: str, data_dir: Path, append_times: bool) -> str:
    place = parse_url(url, data_dir)
    if not url.startswith("kafka:"):
        return f"{url} needs no server"
    from bus.kafka_client import KafkaTarget, require_append_times, topic_facts

    assert isinstance(place, KafkaTarget)
    facts = topic_facts(place)
    if facts is None:
        return f"{place} answers; topic {place.topic} is not there yet, and will be made"
    if append_times:
        require_append_times(place, facts)
    return f"{place} answers; topic {place.topic} takes messages of {facts.max_bytes} octets"


def _elasticsearch(url: str) -> str:
    from stores.elasticsearch.client import Client
    from stores.elasticsearch.setup import examine
    from stores.elasticsearch.target import Target

    client = Client.open(Target.parse(url))
    try:
        return examine(client)
    finally:
        client.close()


def _enrichment(settings: Settings) -> str:
    enricher = Enricher.of(settings.enrichment)
    snapshot = enricher.snapshot()
    return f"rules {enricher.rules_version() or 'pre-defined'}; inventory {'none' if snapshot is None else 'is usable'}"


def _listens(place: str) -> str:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise OSError(error.errno or 0, f"{place}: {error.strerror or error}") from error
    return f"{place} takes connections"
