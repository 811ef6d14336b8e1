"""The fuzzer's own check holds for its seeds, and fails for a decoder that loses flows."""

from pathlib import Path

import pytest

from ingest.decoder import Decoder
from tests.fuzz.harness import check, write_seeds


def test_all_seeds_pass(tmp_path: Path) -> None:
    write_seeds(tmp_path)
    seeds = sorted(tmp_path.iterdir())
    assert len(seeds) > 80
    for seed in seeds:
        check(seed.read_bytes())


def test_a_decoder_that_loses_flows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_seeds(tmp_path)
    monkeypatch.setattr(Decoder, "drain", lambda _: {})
    with pytest.raises(AssertionError):
        check((tmp_path / "case-0").read_bytes())
