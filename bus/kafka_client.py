"""Reaching Kafka: the address, the client's options, the topic. Shared by bus.kafka and bus.kafka_source.

In: a `KafkaTarget` (from bus.open). Out: connected kafka-python clients and a topic that is fit for batches. Refuses to know
what is sent. Every fault of the client library leaves here as a BusError of one line that names the brokers.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.consumer import KafkaConsumer as ConsumerClient
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.producer import KafkaProducer as ProducerClient
from kafka.structs import TopicPartition

from common.errors import BusError

Option = str | int | float | bool
Settings = Mapping[str, Option | None]
Client = TypeVar("Client")
NOTHING: Final[Settings] = {}

MAX_MESSAGE_BYTES: Final = 4 << 20
"""max.message.bytes of a topic made here; a batch closes at 768 KiB by default, but its reports and its last chunk come on top."""
_CLIENT_DEFAULTS: Final[Mapping[str, Option]] = {
    "client_id": "nephrite",
    "bootstrap_timeout_ms": 5_000,
    "request_timeout_ms": 10_000,
    "reconnect_backoff_max_ms": 1_000,
    "metadata_max_age_ms": 10_000,
    "metrics_enabled": False,
    "allow_auto_create_topics": False,
    "proxy_url": "direct://",
}
_OWN: Final = {
    "bootstrap_servers", "key_serializer", "value_serializer", "key_deserializer", "value_deserializer", "acks",
    "enable_idempotence", "transactional_id", "partitioner", "group_id", "enable_auto_commit", "auto_offset_reset",
    "check_crcs", "max_request_size", "delivery_timeout_ms",
}  # fmt: skip
_CONNECT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class KafkaTarget:
    """Brokers, topic, and what an operator may say about both; `replication` -1 leaves it to the brokers' default.

    `configs` are those of a topic that has to be made.
    `partitions` is what a topic gets that is made here; `pinned`, that the operator said it, and lanes are dealt out over them.

    `repr` shows no option: there are passwords among them.
    """

    servers: tuple[str, ...]
    topic: str
    partitions: int = 16
    replication: int = -1
    group: str = "nephrite"
    options: Mapping[str, Option] = field(default_factory=dict, repr=False)
    configs: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = False

    def __str__(self) -> str:
        return f"kafka {','.join(self.servers)}"


def option_types() -> Mapping[str, type]:
    """Names of the client options that may be passed through, with the type of their value (str where the default is None)."""
    defaults = ConsumerClient.DEFAULT_CONFIG | ProducerClient.DEFAULT_CONFIG
    plain = {name: str if value is None else type(value) for name, value in defaults.items()}
    return {name: kind for name, kind in plain.items() if kind in (str, int, float, bool) and name not in _OWN}


def connect(make: Callable[..., Client], target: KafkaTarget, preferred: Settings = NOTHING, fixed: Settings = NOTHING) -> Client:
    """A connected client of the class `make`; raises BusError within a few seconds if no broker answers.

    The operator's options go before what is `preferred`, and what is `fixed` before those.
    """
    if "proxy_url" not in target.options:
        _probe(target)
    known: Mapping[str, Any] = make.DEFAULT_CONFIG  # type: ignore[attr-defined]
    chosen = {**_CLIENT_DEFAULTS, **preferred, **target.options}
    settings = {name: value for name, value in chosen.items() if name in known} | dict(fixed)
    opened: list[Any] = []

    def open_network(**network: Any) -> Any:
        opened.append(KafkaNetClient(**network))
        return opened[-1]

    try:
        with located(target, "cannot be reached"):
            return make(bootstrap_servers=list(target.servers), kafka_client=open_network, **settings)
    except BusError:
        # A client whose constructor fails leaves its sockets open and its thread running.
        for network in opened:
            network.close()
        raise


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What has to be known of a topic: `append_times` says whose clock its records carry, None where one may not ask."""

    max_bytes: int
    append_times: bool | None


def ensure_topic(target: KafkaTarget) -> TopicFacts:
    """Make the topic if it is missing; returns what it is like."""
    with closing(connect(KafkaAdminClient, target)) as admin, located(target, f"topic {target.topic} cannot be made"):
        if not _is_there(admin, target.topic):
            _create(admin, target)
        return _facts(admin, target.topic)


def topic_facts(target: KafkaTarget) -> TopicFacts | None:
    """What the topic is like; None where there is none. Makes nothing; raises BusError."""
    with closing(connect(KafkaAdminClient, target)) as admin, located(target, f"topic {target.topic} is not to be seen"):
        if not _is_there(admin, target.topic):
            return None
        return _facts(admin, target.topic)


def require_append_times(target: KafkaTarget, facts: TopicFacts) -> None:
    """Raises BusError for a topic whose records carry their sender's clock: marks of a fast collector would bound themselves."""
    if facts.append_times is False:
        raise BusError(
            f"{target}, topic {target.topic}: its records carry their sender's clock (message.timestamp.type is CreateTime), "
            f"so nothing bounds a collector whose clock is fast; set it right: kafka-configs.sh --alter --entity-type topics "
            f"--entity-name {target.topic} --add-config message.timestamp.type=LogAppendTime"
        )


def forget_records(target: KafkaTarget, partition: int, below: int) -> None:
    """Let the brokers delete the records below an offset, for all readers; raises BusError."""
    with closing(connect(KafkaAdminClient, target)) as admin, located(target, f"records of {target.topic} cannot be deleted"):
        admin.delete_records({TopicPartition(target.topic, partition): below}, timeout_ms=10_000)


class _ClosingSocket(KafkaNetSocket):  # type: ignore[misc]
    """Connects as the library does, but closes the socket of a failed attempt: an outage must not use up file descriptors.

    The library chooses the class by the scheme of `proxy_url`.
    """

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None) -> socket.socket:
        try:
            connected: socket.socket = await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
        return connected


@contextmanager
def located(target: KafkaTarget, what: str) -> Iterator[None]:
    """Turn what the client library raises into a BusError that says which Kafka, and what could not be done."""
    try:
        yield
    except (errors.KafkaError, OSError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BusError(f"{target} {what}: {reason}") from error


def _probe(target: KafkaTarget) -> None:
    """The client tries for as long as it may, and then says no reason: so see first whether somebody listens."""
    reasons = []
    for server in target.servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except OSError as error:
            reasons.append(error.strerror or str(error))
        else:
            return
    raise BusError(f"{target} cannot be reached: {'; '.join(dict.fromkeys(reasons))}; is it running, and bus.url right?")


def _is_there(admin: Any, topic: str) -> bool:
    """Whether there is such a topic; raises KafkaError when the brokers do not say."""
    code = admin.describe_topics([topic])[0]["error_code"]
    if code not in (0, errors.UnknownTopicOrPartitionError.errno):
        raise errors.for_code(code)
    return bool(code == 0)


def _create(admin: Any, target: KafkaTarget) -> None:
    configs = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_MESSAGE_BYTES), **target.configs}
    topic = NewTopic(target.topic, target.partitions, target.replication, topic_configs=configs)
    try:
        admin.create_topics([topic], timeout_ms=10_000)
    except errors.TopicAlreadyExistsError:
        return  # by another process that starts at the same time
    admin.wait_for_topics([target.topic], timeout_ms=10_000)


def _facts(admin: Any, topic: str) -> TopicFacts:
    try:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    except errors.AuthorizationError:
        return TopicFacts(1 << 20, None)  # about the broker's default; who may not ask gets by with it
    configs = found["topic"][topic]
    if "max.message.bytes" not in configs:
        raise BusError(f"the brokers do not say how topic {topic} is configured")
    return TopicFacts(int(configs["max.message.bytes"]["value"]), configs["message.timestamp.type"]["value"] == "LogAppendTime")
