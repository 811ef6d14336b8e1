"""JSON over HTTP, with bounds: how long, how large, how many pages.

In: a URL and credentials. Out: the JSON value, or SourceError with one line that says what is wrong. Refuses to know what it means.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import requests

from common.errors import InputError
from inventory.records import Json

_CHUNK: Final = 1 << 16


class SourceError(InputError):
    """A source of the inventory that does not answer, or not in a way that can be used."""


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """How to reach a service: the next octets come within `timeout_s`, the whole answer within `total_s`.

    `headers` may carry a token; nothing of them is ever part of a message.
    """

    timeout_s: float = 10.0
    total_s: float = 300.0
    max_bytes: int = 256 << 20
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    verify: bool | str = True

    def get(self, url: str, parameters: Mapping[str, str | int] | None = None) -> Json:
        """The JSON value at a URL, None for an answer without content (status 204); raises SourceError."""
        try:
            return self._fetch(url, parameters or {})
        except requests.RequestException as error:
            raise SourceError(f"{url}: {type(error).__name__}: no answer that can be used") from error

    def _fetch(self, url: str, parameters: Mapping[str, str | int]) -> Json:
        auth = (self.user, self.password) if self.user else None
        wanted = {"Accept": "application/json", **self.headers}
        with requests.get(
            url, params=parameters, headers=wanted, auth=auth, timeout=self.timeout_s, stream=True, verify=self.verify
        ) as response:
            if response.status_code == requests.codes.no_content:
                return None
            if response.status_code != requests.codes.ok:
                raise SourceError(f"{url}: HTTP status {response.status_code}")
            body, deadline = bytearray(), time.monotonic() + self.total_s
            for chunk in response.iter_content(_CHUNK):
                if time.monotonic() > deadline:
                    raise SourceError(f"{url}: answer takes longer than {self.total_s:g} s")
                body += chunk
                if len(body) > self.max_bytes:
                    raise SourceError(f"{url}: answer is larger than {self.max_bytes} octets")
            return _parsed(url, bytes(body))


def _parsed(url: str, body: bytes) -> Json:
    try:
        value: Json = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{url}: answer is no JSON: {error}") from error
    return value
