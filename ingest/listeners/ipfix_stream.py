"""IPFIX over a byte stream: where one message ends and the next begins (RFC 7011 sections 3.1 and 10.4).

In: octets of one connection in pieces of any size. Out: whole messages. A header that cannot be one makes the rest of the stream
worthless: nothing says where the next message would begin. Pure; holds less than one message.
"""

from typing import Final

_VERSION: Final = b"\x00\x0a"
_HEADER_OCTETS: Final = 16
_LENGTH_END: Final = 4


class StreamError(ValueError):
    """The stream is no IPFIX from here on; the connection has to be closed."""


class MessageSplitter:
    """One per connection."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Octets of a message that has only begun."""
        return len(self._held)

    def feed(self, octets: bytes) -> tuple[list[bytes], StreamError | None]:
        """The messages that these octets complete; with an error the stream is over and nothing may follow."""
        held = self._held
        held += octets
        messages: list[bytes] = []
        at = 0
        while len(held) - at >= _LENGTH_END:
            length = int.from_bytes(held[at + 2 : at + _LENGTH_END])
            if held[at : at + 2] != _VERSION:
                return messages, StreamError(f"version {int.from_bytes(held[at : at + 2])} where a message should begin")
            if length < _HEADER_OCTETS:
                return messages, StreamError(f"a message of {length} octets")
            if len(held) - at < length:
                break
            messages.append(bytes(held[at : at + length]))
            at += length
        del held[:at]
        return messages, None
