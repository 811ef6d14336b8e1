"""`nephrite replay` against nfdump and tshark: the same flows, octets and packets per exporter and interface."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.command import ALL_TIMES, EXACT, ROOT, flows, nephrite, rows
from tests.e2e.peers import Seen, Seens, samples_seen_by_tshark, seen_by_nfdump, seen_by_tshark, write_capture

CORPUS: Final = ROOT / "tests" / "data" / "corpus" / "public.jsonl"
SFLOW: Final = 105
PROTOCOLS: Final = ("netflow5", "netflow9", "ipfix")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic capture of every protocol and kind of sampling."""
    path = tmp_path_factory.mktemp("small") / "small.pcap"
    done = nephrite("generate", "small", "--pcap", path, "--rate", "60", "--duration", "20")
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="module")
def small_set(small: Path) -> Path:
    return replayed(small)


def replayed(capture: Path) -> Path:
    done = nephrite("replay", capture, "--data-dir", capture.parent, "--into", "set", changes=EXACT)
    assert done.code == 0, done.err
    return capture.parent / "replay" / "set"


def seen_by_nephrite(data_dir: Path) -> Seens:
    """Without sFlow, for which the peers have programs and dissectors of their own."""
    return Counter(
        Seen(f["exporter"], f["in_if"] or 0, f["out_if"] or 0, f["bytes"] or 0, f["packets"] or 0)
        for f in flows(data_dir)
        if f["protocol_version"] != SFLOW
    )


def test_small_is_to_nfdump_what_it_is_to_nephrite(small: Path, small_set: Path, nfdump: str, tmp_path: Path) -> None:
    ours = seen_by_nephrite(small_set)
    assert ours.total() > 1_000
    assert seen_by_nfdump(small, tmp_path, nfdump) == ours


def test_small_is_to_tshark_what_it_is_to_nephrite(small: Path, small_set: Path, tshark: str) -> None:
    assert seen_by_tshark(small, tshark) == seen_by_nephrite(small_set)


def test_samples_of_small_are_to_tshark_what_they_are_to_nephrite(small: Path, small_set: Path, tshark: str) -> None:
    samples = [flow for flow in flows(small_set) if flow["protocol_version"] == SFLOW]
    assert len(samples) > 100
    interfaces, octets = samples_seen_by_tshark(small, tshark)
    assert interfaces == Counter((f["exporter"], f["in_if"], f["out_if"]) for f in samples)
    assert octets == Counter((f["exporter"], f["bytes"]) for f in samples)


def test_interface_totals_are_the_scaled_sums_of_raw_flows(small_set: Path) -> None:
    shown = rows("top", "interfaces", "--data-dir", small_set, *ALL_TIMES, "-n", "10000")
    measures = ("bytes_ingress", "bytes_egress", "packets_ingress", "packets_egress", "flows_ingress", "flows_egress")
    found = {(r["exporter"], r["interface"]): {m: r[m] for m in measures} for r in shown if r["aggregation_type"] == "TOPK"}
    assert found == sums_by_interface(flows(small_set))


def sums_by_interface(raw: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, int]]:
    """docs/explanation/numbers.md sections 3 and 5, flow by flow; intervals of this scenario are whole."""
    sums: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: dict.fromkeys(map("_".join, SIDES_OF_MEASURES), 0))
    for flow in raw:
        interval = int(flow["sampling_interval"] or 1)
        values = {"bytes": flow["bytes"] * interval, "packets": flow["packets"] * interval, "flows": 1}
        for side, interface in (("ingress", flow["in_if"]), ("egress", flow["out_if"])):
            if flow["direction"] in (None, 255, {"ingress": 0, "egress": 1}[side]):
                for measure, value in values.items():
                    sums[flow["exporter"], interface or 0][f"{measure}_{side}"] += value
    return sums


SIDES_OF_MEASURES: Final = [(measure, side) for measure in ("bytes", "packets", "flows") for side in ("ingress", "egress")]


def test_where_nfdump_and_tshark_agree_on_real_packets_nephrite_does_too(tshark: str, nfdump: str, tmp_path: Path) -> None:
    cases = corpus_cases()
    capture = write_capture(tmp_path / "corpus.pcap", ((source, 9000, data) for source, each in cases.items() for data in each))
    (tmp_path / "nfdump").mkdir()
    theirs = by_exporter(seen_by_nfdump(capture, tmp_path / "nfdump", nfdump))
    others = by_exporter(seen_by_tshark(capture, tshark))
    ours = by_exporter(seen_by_nephrite(replayed(capture)))
    agreed = {source for source in cases if theirs.get(source) and theirs.get(source) == others.get(source)}
    assert len(agreed) >= 40
    assert {source: ours.get(source) for source in agreed} == {source: theirs[source] for source in agreed}


def corpus_cases() -> dict[str, list[bytes]]:
    """Payloads of each case, which gets an exporter's address of its own."""
    cases: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for line in map(json.loads, CORPUS.read_text(encoding="utf-8").splitlines()):
        if line["proto"] in PROTOCOLS:
            cases[line["source"], line["case"]].append(bytes.fromhex(line["payload_hex"]))
    return {f"127.77.0.{number}": datagrams for number, datagrams in enumerate(cases.values(), 1)}


def by_exporter(seen: Seens) -> dict[str, Seens]:
    found: dict[str, Seens] = defaultdict(Counter)
    for flow, count in seen.items():
        found[flow.exporter][flow] += count
    return found
