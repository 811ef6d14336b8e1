"""Every kind of store, for the tests of stores/contract.py."""

import itertools

import pytest

from tests.stores.stores import Opener, elasticsearch_opener, parquet_opener

KINDS = ["parquet", pytest.param("elasticsearch", marks=pytest.mark.server("elasticsearch"))]


@pytest.fixture(scope="session", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """A function that opens a new store with given contents."""
    if request.param == "elasticsearch":
        return elasticsearch_opener(request.getfixturevalue("elasticsearch"))
    names = itertools.count()
    return parquet_opener(lambda: tmp_path_factory.mktemp(f"store{next(names)}"))
