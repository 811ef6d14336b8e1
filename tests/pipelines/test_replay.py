"""Several captures in one data set: each is read whole, and what comes too late for its windows is repaired."""

from pathlib import Path

from tests.e2e.command import flows, nephrite


def test_an_older_capture_in_the_same_data_set(tmp_path: Path) -> None:
    for name, start in (("new", "2026-03-01T12:00:00Z"), ("old", "2026-03-01T10:00:00Z")):
        made = nephrite(
            *("generate", "small", "--pcap", tmp_path / f"{name}.pcap", "--start", start, "--rate", "30", "--duration", "5")
        )
        assert made.code == 0, made.err
    new, old = (nephrite("replay", tmp_path / f"{name}.pcap", "--data-dir", tmp_path, "--into", "both") for name in ("new", "old"))
    assert "late" not in new.err
    raw = flows(tmp_path / "replay" / "both")
    late = sum(flow["end_ms"] < 1_772_362_800_000 for flow in raw)
    assert 0 < late < len(raw)
    assert f"{late:,} flows came too late for their windows, which were repaired" in old.err
