"""The snapshot of another host, kept up to date in a file here.

In: the URL of a snapshot. Out: the file, replaced whole when the server has another one (ETag, RFC 9110 section 8.8.3). What is no
snapshot is never put in place. Refuses to know what is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from columns.snapshot import open_snapshot
from common.errors import ConfigError
from inventory.http import SourceError

_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class SnapshotFetcher:
    """One URL and the file that follows it. `etag` is that of the file in place, as far as this process knows."""

    url: str
    path: Path
    timeout_s: float = 30.0
    max_bytes: int = 4 << 30
    etag: str = ""

    def fetch(self) -> bool:
        """Ask once; whether there is a new file. Raises SourceError; the file in place stays then."""
        headers = {"If-None-Match": self.etag} if self.etag and self.path.exists() else {}
        try:
            with requests.get(self.url, headers=headers, timeout=self.timeout_s, stream=True) as response:
                if response.status_code == requests.codes.not_modified:
                    return False
                if response.status_code != requests.codes.ok:
                    raise SourceError(f"{self.url}: HTTP status {response.status_code}")
                self._put(response)
                self.etag = response.headers.get("ETag", "")
        except requests.RequestException as error:
            raise SourceError(f"{self.url}: {type(error).__name__}: no answer that can be used") from error
        return True

    def _put(self, response: requests.Response) -> None:
        temporary = self.path.with_name(f".{self.path.name}.fetched")
        try:
            self._write(temporary, response)
            open_snapshot(temporary)
            temporary.replace(self.path)
        except ConfigError as error:
            raise SourceError(f"{self.url}: answer is no snapshot of an inventory") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, path: Path, response: requests.Response) -> None:
        size = 0
        with path.open("wb") as out:
            for chunk in response.iter_content(_CHUNK):
                size += len(chunk)
                if size > self.max_bytes:
                    raise SourceError(f"{self.url}: answer is larger than {self.max_bytes} octets")
                out.write(chunk)
