"""Which bus: from the URL in the settings to a producer or a source.

In: settings.bus and the data folder. Out: the ends of the bus; the Kafka client is imported only when Kafka is named. A URL that
names no bus is a ConfigError that lists the forms there are; brokers and folders that cannot be used are a BusError.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from bus.contract import Producer, Source
from bus.memory import MemoryProducer, MemorySource, memory_log
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.config import Bus
from common.errors import ConfigError
from common.metrics import Counters

if TYPE_CHECKING:
    from bus.kafka_client import KafkaTarget, Option

FORMS: Final = "spool:, spool:/path, kafka://host:9092,host:9092/topic?option=value or memory:name"
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_PASSWORD_FILE: Final = "sasl_plain_password_file"
_NUMBERS: Final = {"partitions": "16", "replication": "-1"}


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """A spool of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class MemoryPlace:
    """A log of this process."""

    name: str


def open_producer(bus: Bus, data_dir: Path, counters: Counters | None = None) -> Producer:
    """The writing end. Kafka comes with a spool behind it (bus.draining), so that it can be opened while no broker answers."""
    place = parse_url(bus.url, data_dir)
    if isinstance(place, MemoryPlace):
        return MemoryProducer(memory_log(place.name, bus.lanes), counters)
    if isinstance(place, SpoolPlace):
        return SpoolProducer(place.path, bus.lanes, spool_limits(bus), counters)
    from bus.draining import SpoolingProducer
    from bus.kafka import KafkaProducer

    shared = Counters() if counters is None else counters
    spool = data_dir / "kafka-spool"
    return SpoolingProducer(lambda: KafkaProducer(place, shared), spool, bus.lanes, spool_limits(bus), shared)


def open_direct_producer(bus: Bus, data_dir: Path, counters: Counters | None = None) -> Producer:
    """The writing end without a spool behind Kafka: for commands that rather fail than leave something to be drained later."""
    place = parse_url(bus.url, data_dir)
    if isinstance(place, SpoolPlace | MemoryPlace):
        return open_producer(bus, data_dir, counters)
    from bus.kafka import KafkaProducer

    return KafkaProducer(place, counters)


def open_source(bus: Bus, data_dir: Path, counters: Counters | None = None) -> Source:
    """The reading end."""
    place = parse_url(bus.url, data_dir)
    if isinstance(place, MemoryPlace):
        return MemorySource(memory_log(place.name, bus.lanes))
    if isinstance(place, SpoolPlace):
        return SpoolSource(place.path, bus.lanes, counters)
    from bus.kafka_source import KafkaSource

    return KafkaSource(place, counters)


def spool_limits(bus: Bus) -> SpoolLimits:
    """What the settings say about spools; segments are small enough that a full spool can free some of them."""
    segment = min(bus.segment_bytes, max(1 << 16, bus.spool_bytes // (4 * bus.lanes)))
    return SpoolLimits(bus.spool_bytes, segment, bus.spool_when_full, bus.fsync)


def parse_url(url: str, data_dir: Path) -> "SpoolPlace | MemoryPlace | KafkaTarget":
    """Where a URL points; raises ConfigError."""
    scheme, _, rest = url.partition(":")
    if scheme == "spool" and not rest.startswith("//"):
        return SpoolPlace(Path(rest) if rest else data_dir / "spool")
    if scheme == "memory" and rest:
        return MemoryPlace(rest)
    if scheme == "kafka" and rest.startswith("//"):
        return _kafka(rest[2:])
    raise ConfigError([f"bus.url: {_without_options(url)!r} names no bus; it must be {FORMS}"])


def _kafka(rest: str) -> "KafkaTarget":
    from bus.kafka_client import KafkaTarget

    address, _, query = rest.partition("?")
    hosts, _, topic = address.partition("/")
    servers = tuple(host if ":" in host else f"{host}:9092" for host in hosts.split(",") if host)
    problems = [] if servers and topic else [f"kafka needs brokers and a topic, as in {FORMS.split(', ')[2]}"]
    if topic and not _TOPIC.fullmatch(topic := unquote(topic)):
        problems.append(f"{topic!r} can be no topic: letters, digits, dots, dashes and underscores, at most 249")
    problems += [f"{server!r} has no port number" for server in servers if not server.rpartition(":")[2].isdigit()]
    given = dict(parse_qsl(query, keep_blank_values=True))
    numbers = {name: given.pop(name) for name in _NUMBERS if name in given}
    problems += [f"{name} must be a number above 0" for name, value in numbers.items() if not value.isdigit() or value == "0"]
    group = given.pop("group", "nephrite")
    options = _options(given, problems)
    if problems:
        raise ConfigError([f"bus.url: {problem}" for problem in problems])
    partitions, replication = (int(numbers.get(name, default)) for name, default in _NUMBERS.items())
    return KafkaTarget(servers, topic, partitions, replication, group, options, pinned="partitions" in numbers)


def _options(given: Mapping[str, str], problems: list[str]) -> "dict[str, Option]":
    """Client options by their types; what is wrong with them goes into `problems`, without their values, which may be secret."""
    from bus.kafka_client import option_types

    types = option_types()
    options: dict[str, Option] = {}
    for name, value in given.items():
        try:
            if name == _PASSWORD_FILE:
                options["sasl_plain_password"] = Path(value).read_text(encoding="utf-8").strip()
            elif name not in types:
                problems.append(f"kafka has no option {name!r} that can be set")
            else:
                options[name] = {"true": True, "false": False}[value.lower()] if types[name] is bool else types[name](value)
        except (KeyError, ValueError):
            problems.append(f"kafka option {name} must be {'true or false' if types[name] is bool else 'a number'}")
        except OSError as error:
            problems.append(f"kafka option {name}: {error.filename}: {error.strerror}")
    return options


def _without_options(url: str) -> str:
    return url.partition("?")[0]
