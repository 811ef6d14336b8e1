"""The sinks of the streaming pipeline, as far as they go without a server."""

import pyarrow as pa
import pytest

from common.errors import StoreError
from pipelines.elasticsearch_sinks import WriteAggregateDocuments
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.target import Target


def test_a_server_that_is_away_fails_the_bundle_and_not_the_set_up() -> None:
    """On Flink a worker whose set-up fails is waited for, three minutes in each attempt."""
    sink = WriteAggregateDocuments(Target.parse("elasticsearch://127.0.0.1:1"))
    sink.setup()
    for _ in range(2):
        sink.start_bundle()
        with pytest.raises(StoreError, match="no answer"):
            sink._send([Documents("an-index", pa.array(["{}\n{}\n"]))])
    sink.start_bundle()
    sink.finish_bundle()
    sink.teardown()
