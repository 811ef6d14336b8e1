"""Records of two directions against what nfdump 1.7.1 made of the same octets: one record there is two directed flows here.

`tests/data/corpus/biflows-nfdump.csv` is nfdump's output for three cases. Of firewall events it keeps the counters as they came: an
update and the teardown after it hold the same octets, so its sum is twice the traffic of a connection.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from common.addresses import format_address
from tests.protocols.corpus import cases, decode_case

_FILE: Final = Path(__file__).parents[1] / "data" / "corpus" / "biflows-nfdump.csv"
Ends = tuple[str, int, str, int, int]
Seen = tuple[Ends, int, int]


def _records(case: str) -> list[dict[str, str]]:
    with _FILE.open(newline="") as lines:
        return [line for line in csv.DictReader(lines) if line["case"] == case]


def _ends(line: dict[str, str]) -> tuple[Ends, Ends]:
    source, target = (line["src_addr"], int(line["src_port"])), (line["dst_addr"], int(line["dst_port"]))
    return (*source, *target, int(line["protocol"])), (*target, *source, int(line["protocol"]))


def _directed(case: str) -> list[Seen]:
    rows = [row for _, decoded in decode_case(cases()[case]) for row in decoded.flows]
    return [
        (
            (format_address(row["src_addr"]), row["src_port"], format_address(row["dst_addr"]), row["dst_port"], row["protocol"]),
            row.get("bytes") or 0,
            row.get("packets") or 0,
        )
        for row in rows
    ]


@pytest.mark.parametrize("case", ["logstash-codec-netflow: IPFIX YAF basic with applabel", "telegraf: ipfix_example"])
def test_each_biflow_record_is_a_flow_in_each_direction_that_counted_something(case: str) -> None:
    expected: list[Seen] = []
    for line in _records(case):
        forward, back = _ends(line)
        expected.append((forward, int(line["bytes"]), int(line["packets"])))
        if int(line["reverse_packets"]):
            expected.append((back, int(line["reverse_bytes"]), int(line["reverse_packets"])))
    assert len(expected) > 3
    assert _directed(case) == expected


def test_connections_through_a_firewall_sum_up_to_their_teardown_in_each_direction() -> None:
    case = "logstash-codec-netflow: Netflow 9 Cisco ASA #2"
    torn_down: Counter[Ends] = Counter()
    for line in _records(case):
        if line["event"] == "DELETE":
            forward, back = _ends(line)
            torn_down[forward] += int(line["bytes"])
            torn_down[back] += int(line["reverse_bytes"])
    seen: Counter[Ends] = Counter()
    for ends, octets, _ in _directed(case):
        seen[ends] += octets
    assert len(torn_down) == 16
    assert seen == torn_down
