"""Scenario files and the built-in table."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from common.errors import ConfigError
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.scenario import Collector, Exporter, Sampling, Scenario, load_scenario


def test_builtin_scenarios_have_distinct_loopback_exporters() -> None:
    assert list(BUILTIN) == ["demo", "small", "campus", "skewed", "lossy", "bench"]
    for scenario in BUILTIN.values():
        addresses = [exporter.address for exporter in scenario.fleet()]
        assert len(set(addresses)) == len(addresses)
        assert all(address.startswith("127.") for address in addresses)


def test_sizes_that_the_names_promise() -> None:
    assert len(BUILTIN["campus"].fleet()) == 200
    assert sum(exporter.interfaces for exporter in BUILTIN["campus"].fleet()) == 2000
    assert sum(exporter.interfaces for exporter in BUILTIN["bench"].fleet()) == 400


def test_count_gives_consecutive_addresses() -> None:
    scenario = Scenario(exporters=(Exporter(address="127.0.0.254", protocol="ipfix", count=3),))
    assert [exporter.address for exporter in scenario.fleet()] == ["127.0.0.254", "127.0.0.255", "127.0.1.0"]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("rate: 5\nexporters:\n  - {address: 127.0.0.1, protocol: netflow5}\n", encoding="utf-8")
    scenario = load_scenario(str(path), BUILTIN)
    assert (scenario.rate, scenario.exporters[0].protocol) == (5, "netflow5")
    assert load_scenario("small", BUILTIN) is BUILTIN["small"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("rate: [", ["not YAML"]),
        ("- 1", ["top level: "]),
        (
            "rate: -1\nexporters:\n  - {address: 127.0.0.1, protocol: netflow7}\nduraton: 3\n",
            ["rate: ", "exporters.0.protocol: ", "duraton: no such setting"],
        ),
        ("exporters: []", ["top level: no exporter"]),
        ("exporters: [{address: nowhere, protocol: ipfix}]", ["exporters.0: 'nowhere'"]),
    ],
)
def test_all_faults_of_a_file_at_once(tmp_path: Path, text: str, problems: list[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_scenario(str(path), BUILTIN)
    assert len(caught.value.problems) == len(problems)
    for found, wanted in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(f"{path}: {wanted}")


def test_a_name_that_is_neither_file_nor_scenario() -> None:
    with pytest.raises(ConfigError, match="the built-in ones are demo, small"):
        load_scenario("smal", BUILTIN)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_scenario("nowhere.yaml", BUILTIN)


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "netflow5", "sampling": Sampling(interval=2, via="record")},
        {"protocol": "netflow5", "sampling": Sampling(interval=1 << 14, via="header")},
        {"protocol": "netflow5", "timeouts_via": "record"},
        {"protocol": "netflow5", "domain": 65_536},
        {"protocol": "netflow9", "sampling": Sampling(interval=2, via="header")},
        {"protocol": "ipfix", "time_fields": "uptime"},
        {"protocol": "ipfix", "sampling": Sampling(interval=2, via="none")},
        {"protocol": "ipfix", "clock_offset_ms": 1500},
        {"protocol": "sflow", "sampling": Sampling(interval=2, via="options")},
        {"protocol": "sflow", "direction": "unknown"},
        {"protocol": "sflow", "timeouts_via": "record"},
        {"protocol": "sflow", "whole_flow_start": True},
        {"protocol": "sflow", "clock_offset_ms": 1000},
        {"protocol": "sflow", "first_if_index": 1 << 24},
    ],
)
def test_exporters_that_cannot_be(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Exporter.model_validate({"address": "127.0.0.1"} | settings)


def test_sflow_in_the_built_in_scenarios() -> None:
    agents = {name: sum(e.protocol == "sflow" for e in scenario.fleet()) for name, scenario in BUILTIN.items()}
    assert agents == {"demo": 2, "small": 1, "campus": 10, "skewed": 0, "lossy": 1, "bench": 0}


def test_collectors_that_cannot_be() -> None:
    with pytest.raises(ValidationError):
        Collector(name="c", outage_from_s=5)
    with pytest.raises(ValidationError):
        Collector(name="c", outage_from_s=5, outage_to_s=4)
    with pytest.raises(ValidationError):
        Scenario(exporters=BUILTIN["small"].exporters, collectors=(Collector(name="c"), Collector(name="c")))
