"""A real single-node Kafka broker, driven through kafka.sh."""

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kafka.admin import KafkaAdminClient, NewTopic

from flink.distribution import cache_folder
from tests.servers.ports import free_block
from tests.servers.registry import ServerUnavailableError, require

SCRIPT: Final = Path(__file__).with_name("kafka.sh")
VERSION: Final = "4.3.1"
PORTS: Final = 5  # client, controller, and three secured listeners
TIMEOUT_S: Final = 600.0  # the first start downloads the broker


class KafkaServer:
    """One broker with its data below `folder`; it keeps its port for life, so that a restart is found again.

    `secure` adds listeners with TLS and SASL (see kafka.sh), `settings` are further broker properties.
    """

    def __init__(self, folder: Path, *, secure: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_block(PORTS)
        self.secure = secure
        self.settings = dict(settings or {})

    @property
    def bootstrap(self) -> str:
        """host:port of the plain listener."""
        return f"127.0.0.1:{self.port}"

    def is_running(self) -> bool:
        """Whether the broker's process lives."""
        return self._call("status").returncode == 0

    def start(self) -> None:
        """Install if need be, start, and return once the broker takes requests."""
        require("java", "mvn", "openssl" if self.secure else "java")
        done = self._call("start")
        if done.returncode:
            raise ServerUnavailableError(f"kafka did not start: {_last_line(done.stdout + done.stderr)}")

    def stop(self) -> None:
        """Shut down in good order."""
        self._call("stop")

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL); its data stays."""
        self._call("kill")

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Stop and remove all data."""
        self._call("wipe")

    def new_topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a topic under a name that no other test has; returns the name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))])
        finally:
            admin.close()
        return name

    def __str__(self) -> str:
        return f"kafka {VERSION}"

    def _call(self, verb: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {
            "NEPHRITE_CACHE": str(cache_folder()),
            "KAFKA_RUN": str(self.folder),
            "KAFKA_PORT": str(self.port),
            "KAFKA_VERSION": VERSION,
            "KAFKA_SECURE": "1" if self.secure else "0",
            "KAFKA_EXTRA": "\n".join(f"{key}={value}" for key, value in self.settings.items()),
        }
        command = [str(SCRIPT), verb]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[-1]
