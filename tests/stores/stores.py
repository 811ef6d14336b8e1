"""Stores of both kinds with given contents, for the tests that every store has to pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from columns.documents import ids_of, to_json
from columns.ledger_table import ledger_ids, ledger_json
from stores.contract import Store
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk, DeadLetter
from stores.elasticsearch.client import Client
from stores.elasticsearch.ledger import ledger_documents
from stores.elasticsearch.raw import raw_documents
from stores.elasticsearch.reader import ElasticsearchStore
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import Target
from stores.parquet.reader import ParquetStore
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.literals import Batch, Doc, by_level, fill, table_of

Tables = Sequence[pa.Table]


class Opener(Protocol):
    """Opens a new store with one run per list of documents, per batch and per table of the ledger."""

    def __call__(
        self,
        documents: Sequence[Sequence[Doc]] = (),
        batches: Sequence[Batch] = (),
        both_sides: bool = False,
        ledger: Sequence[pa.Table] = (),
    ) -> AbstractContextManager[Store]: ...


def parquet_opener(new_folder: Callable[[], Path]) -> Opener:
    """Stores in new folders."""

    @contextmanager
    def opened(
        documents: Sequence[Sequence[Doc]] = (),
        batches: Sequence[Batch] = (),
        both_sides: bool = False,
        ledger: Sequence[pa.Table] = (),
    ) -> Iterator[Store]:
        with ParquetStore.open(fill(new_folder(), documents, batches, ledger), both_sides) as store:
            yield store

    return opened


def elasticsearch_opener(server: ElasticsearchServer) -> Opener:
    """Stores under new prefixes of one server; a document that it refuses fails the test."""

    @contextmanager
    def opened(
        documents: Sequence[Sequence[Doc]] = (),
        batches: Sequence[Batch] = (),
        both_sides: bool = False,
        ledger: Sequence[pa.Table] = (),
    ) -> Iterator[Store]:
        target = replace(target_of(server), prefix=server.new_prefix())
        with filled(target, documents, batches, ledger), ElasticsearchStore.open(target, both_sides) as store:
            yield store

    return opened


@contextmanager
def filled(
    target: Target, documents: Sequence[Sequence[Doc]] = (), batches: Sequence[Batch] = (), ledger: Sequence[pa.Table] = ()
) -> Iterator[None]:
    """A target with these contents; afterwards it has nothing."""
    client = Client.open(target)
    list(install(client, {}))
    bulk = Bulk(client, refuse)
    for run in documents:
        for level, of_level in by_level(run).items():
            table = table_of(of_level)
            for lines in aggregate_documents(target.prefix, table, ids_of(table, level), to_json(table), level):
                bulk.add(lines)
        bulk.flush()
    for batch in batches:
        for lines in raw_documents(target, [batch]):
            bulk.add(lines)
    for table in ledger:
        for lines in ledger_documents(target.prefix, table, ledger_ids(table), ledger_json(table)):
            bulk.add(lines)
        bulk.flush()
    bulk.flush()
    client.ask("POST", f"/{target.prefix}*/_refresh")
    try:
        yield
    finally:
        bulk.close()
        wipe(client)


def target_of(server: ElasticsearchServer) -> Target:
    """A running server as a target, with small waits."""
    return Target((f"127.0.0.1:{server.port}",), replicas="false", retry_s=20)


def wipe(client: Client) -> None:
    """Removes all indices and templates of a target."""
    prefix = client.target.prefix
    client.ask("DELETE", f"/{prefix}*")
    client.send("DELETE", f"/_index_template/{prefix}*")  # there may be none
    client.close()


def refuse(letters: Sequence[DeadLetter]) -> None:
    raise AssertionError(letters)
