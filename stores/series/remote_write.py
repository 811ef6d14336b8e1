"""Prometheus's remote write, version 1: a snappy block of one protobuf message per POST.

In: points. Out: samples of `nephrite_interface_bytes`, `_packets`, `_flows` and `nephrite_interface_application_bytes`. A sample of
a series and time that is there already is taken as the same. What the receiver calls bad (4xx) is refused for good: sending it
again would hold up all that follows.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import cramjam
import requests

from common.errors import OutletError
from stores.series.points import Point, Series

_TIMEOUT_S: Final = 10.0
_POINTS: Final = 10_000
_HEADERS: Final = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "nephrite",
}
_AGAIN: Final = frozenset({408, 429})


class RemoteWrite:
    """Requests to one URL; user and password may be in it."""

    def __init__(self, url: str, prefix: str, token: str = "") -> None:
        self._url = url
        self._prefix = prefix
        self._session = requests.Session()
        self._headers = _HEADERS | ({"Authorization": f"Bearer {token}"} if token else {})

    def __str__(self) -> str:
        return f"remote write to {self._url.rpartition('@')[2].partition('?')[0]}"

    def send(self, points: Sequence[Point]) -> int:
        """All points; returns how many the receiver refused. Raises OutletError when it has to be tried again."""
        refused = 0
        for first in range(0, len(points), _POINTS):
            chunk = points[first : first + _POINTS]
            refused += 0 if self._post(chunk) else len(chunk)
        return refused

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _post(self, points: Sequence[Point]) -> bool:
        body = bytes(cramjam.snappy.compress_raw(write_request(self._prefix, points)))
        try:
            answer = self._session.post(self._url, data=body, headers=self._headers, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise OutletError(f"{self} failed: {type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code in _AGAIN:
            raise OutletError(f"{self} answered {answer.status_code}: {' '.join(answer.text.split())[:200]}")
        return answer.ok


def write_request(prefix: str, points: Iterable[Point]) -> bytes:
    """The message prometheus.WriteRequest: one series per point, since a window gives one point of each."""
    return b"".join(_field(1, _labels(prefix, p.series) + _field(2, _sample(p))) for p in points)


def full_name(series: Series) -> Series:
    """The series as it is: labels take any text."""
    return series


def labels_of(prefix: str, series: Series) -> list[tuple[str, str]]:
    """Labels in the order that the protocol wants; empty ones are left out, as it wants, too."""
    what = "interface_application" if series.application else "interface"
    labels = {
        "__name__": f"{prefix}_{what}_{series.counter}",
        "application": series.application,
        "direction": series.direction,
        "exporter": series.exporter,
        "interface": str(series.interface),
        "location": series.location,
    }
    return [(name, value) for name, value in sorted(labels.items()) if value]


def _labels(prefix: str, series: Series) -> bytes:
    pairs = labels_of(prefix, series)
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in pairs)


def _sample(point: Point) -> bytes:
    return b"\x09" + struct.pack("<d", float(point.value)) + b"\x10" + _varint(point.time_ms)


def _field(number: int, octets: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(octets)) + octets


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
