"""A real single-node Kafka broker."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kafka.admin import KafkaAdminClient, NewTopic

from tests.servers.ports import free_block
from tests.servers.registry import require
from tests.servers.script import ScriptedServer

VERSION: Final = "4.3.1"
PORTS: Final = 5  # client, controller, and three secured listeners

SECURED: Final = {
    "tls": (2, "security_protocol=SSL"),
    "scram over tls": (3, "security_protocol=SASL_SSL&sasl_mechanism=SCRAM-SHA-512"),
    "plain over tls": (3, "security_protocol=SASL_SSL&sasl_mechanism=PLAIN"),
    "scram": (4, "security_protocol=SASL_PLAINTEXT&sasl_mechanism=SCRAM-SHA-256"),
}
"""Listeners of a secure broker: how far their ports are from the plain one, and the client's options."""


class KafkaServer(ScriptedServer):
    """One broker with its data below `folder`; it keeps its port for life, so that a restart is found again.

    `secure` adds listeners with TLS and SASL (see kafka.sh), `settings` are further broker properties.
    """

    def __init__(self, folder: Path, *, secure: bool = False, settings: Mapping[str, str] | None = None) -> None:
        require("java", "mvn", *(["openssl"] if secure else []))
        self.folder = folder
        self.port = free_block(PORTS)
        env = {
            "KAFKA_RUN": str(folder),
            "KAFKA_PORT": str(self.port),
            "KAFKA_VERSION": VERSION,
            "KAFKA_SECURE": "1" if secure else "0",
            "KAFKA_EXTRA": "\n".join(f"{key}={value}" for key, value in (settings or {}).items()),
        }
        super().__init__(Path(__file__).with_name("kafka.sh"), env)

    @property
    def bootstrap(self) -> str:
        """host:port of the plain listener."""
        return f"127.0.0.1:{self.port}"

    def secured_url(self, topic: str, listener: str, password: Path) -> str:
        """A topic behind one of the SECURED listeners; `password` is the file that has it."""
        port, options = SECURED[listener]
        trust = f"&ssl_cafile={self.folder / 'certs' / 'ca.pem'}" if "SSL" in options else ""
        user = f"&sasl_plain_username=alice&sasl_plain_password_file={password}" if "SASL" in options else ""
        return f"kafka://127.0.0.1:{self.port + port}/{topic}?partitions=2&{options}{trust}{user}"

    def new_topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a topic under a name that no other test has, with the broker's clock in its records; returns the name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics(
                [NewTopic(name, partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime", **(configs or {})})]
            )
        finally:
            admin.close()
        return name

    def __str__(self) -> str:
        return f"kafka {VERSION}"
