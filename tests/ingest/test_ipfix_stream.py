"""Framing of IPFIX over TCP: whole, octet by octet, in any pieces, and with junk behind."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.listeners.ipfix_stream import MessageSplitter


def message(body: bytes) -> bytes:
    return struct.pack(">HHIII", 10, 16 + len(body), 1_700_000_000, 0, 1) + body


MESSAGES = [message(b""), message(bytes(100)), message(b"\x00\x0a\x00\x10"), message(bytes(65_535 - 16))]
STREAM = b"".join(MESSAGES)


def test_whole() -> None:
    splitter = MessageSplitter()
    assert splitter.feed(STREAM) == (MESSAGES, None)
    assert splitter.held == 0


def test_octet_by_octet() -> None:
    splitter = MessageSplitter()
    found = []
    for octet in STREAM[:400]:
        messages, error = splitter.feed(bytes([octet]))
        assert error is None
        found.extend(messages)
    assert found == MESSAGES[:3]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_pieces_give_the_same_messages(cuts: list[int]) -> None:
    splitter = MessageSplitter()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [splitter.feed(STREAM[a:b])[0] for a, b in itertools.pairwise(edges)]
    assert [each for piece in found for each in piece] == MESSAGES
    assert splitter.held == 0


@pytest.mark.parametrize(("junk", "words"), [(b"GET / HTTP/1.1", "version 18245"), (b"\x00\x0a\x00\x0f", "of 15 octets")])
def test_junk_behind_good_messages_ends_the_stream_and_keeps_the_messages(junk: bytes, words: str) -> None:
    messages, error = MessageSplitter().feed(MESSAGES[1] + junk)
    assert messages == [MESSAGES[1]]
    assert words in str(error)


def test_a_message_that_never_ends_is_held_within_its_length() -> None:
    splitter = MessageSplitter()
    assert splitter.feed(MESSAGES[3][:-1]) == ([], None)
    assert splitter.held == 65_534


@given(st.binary(max_size=300))
def test_any_octets_end_in_messages_an_error_or_waiting(octets: bytes) -> None:
    splitter = MessageSplitter()
    messages, error = splitter.feed(octets)
    assert sum(map(len, messages)) <= len(octets)
    assert error is not None or splitter.held + sum(map(len, messages)) == len(octets)
