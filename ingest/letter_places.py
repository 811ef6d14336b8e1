"""Where dead letters are kept, by the settings: a spool in the data folder, or a Kafka topic."""

from pathlib import Path
from typing import Final

from bus.open import parse_url
from common.config import Settings
from common.errors import ConfigError
from ingest.dead_letters import Letters
from ingest.letter_spool import SpoolLetters

_BESIDE: Final = "kafka:"
_SUFFIX: Final = "dead-letters"


def letters_of(settings: Settings) -> Letters:
    """The store that the settings name; raises ConfigError. Kafka's client is imported only when it is named."""
    ingest, data_dir = settings.ingest, Path(settings.data_dir)
    if not ingest.dead_letters:
        return SpoolLetters(data_dir, ingest.dead_letters_bytes)
    from bus.compacted import beside
    from bus.kafka_client import KafkaTarget
    from ingest.letter_topic import TopicLetters

    is_beside = ingest.dead_letters == _BESIDE
    try:
        target = parse_url(settings.bus.url if is_beside else ingest.dead_letters, data_dir)
    except ConfigError as error:
        raise ConfigError([problem.replace("bus.url", "ingest.dead_letters", 1) for problem in error.problems]) from error
    if not isinstance(target, KafkaTarget):
        fault = "kafka: needs a Kafka bus" if is_beside else "it must be empty, kafka: or kafka://host:9092/topic"
        raise ConfigError([f"ingest.dead_letters: {fault}"])
    return TopicLetters(beside(target, _SUFFIX) if is_beside else target, ingest.dead_letters_bytes)
