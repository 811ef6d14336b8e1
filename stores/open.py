"""The store that a URL names, opened for reading.

In: the URL of `store.url`, or none and the data folder. Out: a stores.contract.Store. Refuses to know questions. Only the kind
that is asked for is imported.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores.elasticsearch.reader import ElasticsearchStore
    from stores.parquet.reader import ParquetStore


def open_store(url: str, data_dir: Path, both_sides: bool) -> "AbstractContextManager[ElasticsearchStore | ParquetStore]":
    """Elasticsearch where a URL is given, else the data folder; `both_sides` as in the pipeline's settings.

    Raises ConfigError for a URL that is none and StoreError for a folder without data.
    """
    if url:
        from stores.elasticsearch.reader import ElasticsearchStore
        from stores.elasticsearch.target import Target

        return ElasticsearchStore.open(Target.parse(url), both_sides)
    from stores.parquet.reader import ParquetStore

    return ParquetStore.open(data_dir, both_sides)
