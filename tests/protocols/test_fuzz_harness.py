"""The fuzzer's own check holds for its seeds, and fails for a decoder that loses flows."""

from pathlib import Path

import pytest

from ingest.decoder import Decoder
from tests.fuzz import run
from tests.fuzz.harness import CHECKS, SEEDS, check, write_seeds


@pytest.mark.parametrize("target", sorted(CHECKS))
def test_all_seeds_pass(target: str, tmp_path: Path) -> None:
    SEEDS[target](tmp_path)
    seeds = sorted(tmp_path.iterdir())
    assert len(seeds) > (20 if target in ("decoder", "structures", "capture") else 2)
    for seed in seeds:
        CHECKS[target](seed.read_bytes())
        CHECKS[target](seed.read_bytes()[:-7])


def test_every_target_is_run() -> None:
    assert set(run.TARGETS) == set(CHECKS) == set(SEEDS)


def test_a_decoder_that_loses_flows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_seeds(tmp_path)
    monkeypatch.setattr(Decoder, "drain", lambda _: {})
    with pytest.raises(AssertionError):
        check((tmp_path / "case-0").read_bytes())
