"""Graphite's plaintext protocol: one line per point over TCP.

In: points. Out: lines `PREFIX.location.exporter.interface.total.in.bytes VALUE TIME`. The protocol acknowledges nothing: what the
kernel took may still be lost with the receiver. The connection is looked at before each use, so that one that the receiver has
closed costs nothing.
"""

import re
import socket
from collections.abc import Sequence
from typing import Final

from common.errors import OutletError
from stores.series.points import Point, Series

_TIMEOUT_S: Final = 5.0
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Graphite:
    """A connection to `HOST:PORT`, opened at the first use and again after a failure."""

    def __init__(self, address: str, prefix: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._prefix = prefix
        self._socket: socket.socket | None = None

    def __str__(self) -> str:
        return f"graphite {self._place[0]}:{self._place[1]}"

    def send(self, points: Sequence[Point]) -> int:
        """All points; returns how many the receiver refused, none ever. Raises OutletError."""
        body = b"".join(line(self._prefix, point) for point in points)
        try:
            self._connected().sendall(body)
        except OSError as error:
            self.close()
            raise OutletError(f"{self} cannot be reached: {error.strerror or error}") from error
        return 0

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._is_closed(self._socket):
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._place, timeout=_TIMEOUT_S)
        return self._socket

    def _is_closed(self, known: socket.socket) -> bool:
        known.setblocking(False)
        try:
            return not known.recv(1024)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            known.settimeout(_TIMEOUT_S)


def line(prefix: str, point: Point) -> bytes:
    """One point, its time in whole seconds."""
    return f"{path_of(prefix, point.series)} {point.value} {point.time_ms // 1000}\n".encode()


def path_of(prefix: str, series: Series) -> str:
    """The name of a series."""
    plain = plain_name(series)
    what = ["applications", plain.application] if plain.application else ["total"]
    return ".".join([prefix, plain.location, plain.exporter, str(plain.interface), *what, plain.direction, plain.counter])


def plain_name(series: Series) -> Series:
    """The series by the names that Graphite has for it: what no part of a name may have is an underscore."""
    location, exporter, application = _part(series.location) or "default", _part(series.exporter), _part(series.application)
    return series._replace(location=location, exporter=exporter, application=application)


def _part(text: str) -> str:
    return _NOT_IN_A_NAME.sub("_", text)
