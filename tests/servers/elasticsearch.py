"""A real single-node Elasticsearch."""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.servers.ports import free_block
from tests.servers.registry import ServerUnavailableError, require
from tests.servers.script import ScriptedServer

VERSION: Final = "8.19.8"
PASSWORD: Final = "changeme"


class ElasticsearchServer(ScriptedServer):
    """One node, which keeps its port for life; `modules` adds Painless and others by a download of 0.9 GB.

    Started by root the node runs as another user, who must reach its folder: pytest's are closed to others, so it
    has one of its own, removed by `wipe`. `secure` turns on HTTPS (`certificate`) and the password of `elastic`.
    """

    def __init__(
        self, *, secure: bool = False, modules: bool = False, settings: Mapping[str, str] | None = None, version: str = VERSION
    ) -> None:
        require("java", "javac", "mvn", "curl", "python3", *(["setpriv"] if os.getuid() == 0 else []))
        self.folder = Path(tempfile.mkdtemp(prefix="nephrite-elasticsearch-"))
        self.folder.chmod(0o755)
        self.port = free_block(2)
        self.secure = secure
        self.version = version
        env = {
            "ES_RUN": str(self.folder / "run"),
            "ES_PORT": str(self.port),
            "ES_TRANSPORT_PORT": str(self.port + 1),
            "ES_VERSION": version,
            **({"JAVA_HOME": str(newer_java())} if version.startswith("9.") else {}),
            "ES_SECURE": "1" if secure else "0",
            "ES_PASSWORD": PASSWORD,
            "ES_MODULES": "1" if modules else "",
            "ES_EXTRA": "\n".join(f"{key}: {value}" for key, value in (settings or {}).items()),
        }
        super().__init__(Path(__file__).with_name("elasticsearch.sh"), env)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """The authority that signed the node's certificate."""
        return self.folder / "run" / "config" / "certs" / "ca.crt"

    def new_prefix(self) -> str:
        """A prefix for index names that no other test has."""
        return f"test-{uuid.uuid4().hex[:12]}-"

    def wipe(self) -> None:
        """Stop and remove all data, and the folder."""
        super().wipe()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __str__(self) -> str:
        return f"elasticsearch {self.version}"


def newer_java() -> Path:
    """A Java of version 21 or later, which Elasticsearch 9 needs; raises ServerUnavailableError."""
    for home in sorted(Path("/usr/lib/jvm").glob("*"), reverse=True):
        said = home / "release"
        found = re.search(r'JAVA_VERSION="(\d+)', said.read_text(encoding="utf-8")) if said.is_file() else None
        if found and int(found[1]) >= 21:
            return home
    raise ServerUnavailableError("no Java 21 or later in /usr/lib/jvm, which Elasticsearch 9 needs")
