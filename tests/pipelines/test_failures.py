"""A run that fails in the middle: told in one line, nothing half done, and the next one goes on."""

import shutil
from pathlib import Path

import pytest

from common.errors import StoreError
from stores.parquet.manifest import Manifest
from tests.pipelines.line import driver_of, expected_documents, fill, stored_documents, traffic_of


def test_a_store_that_fails_is_told_in_one_line_and_the_run_can_be_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = traffic_of("small", seed=8)
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = driver_of(fill(traffic.entries), manifest)
        shutil.rmtree(manifest.pending_dir)
        with pytest.raises(StoreError, match="cannot be written") as caught:
            driver.run_once()
        assert "\n" not in str(caught.value)
        assert caplog.text == ""
        assert manifest.load().run == 0
        manifest.pending_dir.mkdir()
        driver.drain()
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)
