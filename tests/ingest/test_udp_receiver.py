"""The receiving thread on real sockets: nothing lost in silence, sources in canonical form, bounded memory."""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from common.addresses import pack_address
from common.config import Listener
from common.errors import ConfigError
from ingest.chunks import Chunk, ChunkQueue
from ingest.listeners.bulk_receive import SLOTS, BulkReceiver, ManyAtOnce, OneByOne, bulk_receiver
from ingest.listeners.udp import UdpReceiver, kernel_drops, open_socket
from tests.protocols.wire import FLOW, Line, flow, netflow9, options_template, put, template

LOOPBACK = pack_address("127.0.0.1")


@contextmanager
def receiving(listeners: Sequence[Listener], queue: ChunkQueue, **options: object) -> Iterator[UdpReceiver]:
    receiver = UdpReceiver(listeners, queue, lambda: 1234, **options)  # type: ignore[arg-type]
    receiver.open()
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def sender_to(address: tuple[str, int]) -> socket.socket:
    udp = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(address)
    return udp


def take(queue: ChunkQueue, count: int) -> list[tuple[bytes, bytes]]:
    taken: list[tuple[bytes, bytes]] = []
    for _ in range(1000):
        for chunk in queue.take(0.1):
            taken.extend(zip(chunk.exporters, chunk.payloads, strict=True))
        if len(taken) >= count:
            return taken
    raise AssertionError(f"{len(taken)} of {count} datagrams came")


def test_datagrams_arrive_whole_and_in_order_with_their_source() -> None:
    queue = ChunkQueue(64 << 20)
    payloads = [bytes([n % 256]) * (n * 13 % 1500) for n in range(1000)] + [bytes(65_507), b""]
    with receiving([Listener(host="127.0.0.1", port=0)], queue) as receiver:
        with sender_to(receiver.addresses[0]) as sender:
            for payload in payloads:
                sender.send(payload)
        taken = take(queue, len(payloads))
    assert taken == [(LOOPBACK, payload) for payload in payloads]
    assert (receiver.received, receiver.queue_drops, receiver.socket_drops, receiver.errors) == (1002, 0, 0, 0)


def test_options_from_one_port_hold_for_flows_from_others() -> None:
    queue, line = ChunkQueue(1 << 20), Line()
    payloads = (
        netflow9(template(256, FLOW)),
        netflow9(options_template(300, ((1, 4),), ((34, 4),)), put(300, struct.pack(">II", 0, 1000)), sequence=1),
        netflow9(put(256, flow(1)), sequence=2),
    )
    with receiving([Listener(host="127.0.0.1", port=0), Listener(host="127.0.0.1", port=0)], queue) as receiver:
        for number, payload in enumerate(payloads):
            with sender_to(receiver.addresses[number % 2]) as sender:
                sender.send(payload)
                ((exporter, received),) = take(queue, 1)
                line.feed(received, exporter=exporter)
    assert [row["sampling_interval"] for row in line.rows()] == [1000]


def test_ipv4_and_ipv6_listeners_side_by_side() -> None:
    queue = ChunkQueue(1 << 20)
    listeners = [Listener(host="127.0.0.1", port=0), Listener(host="::1", port=0), Listener(host="::", port=0)]
    with receiving(listeners, queue) as receiver:
        ports = [port for _, port in receiver.addresses]
        for address in (("127.0.0.1", ports[0]), ("::1", ports[1]), ("::1", ports[2]), ("127.0.0.1", ports[2])):
            with sender_to(address) as sender:
                sender.send(b"%d" % ports.index(address[1]))
        taken = take(queue, 4)
    assert sorted(taken) == sorted([(LOOPBACK, b"0"), (pack_address("::1"), b"1"), (pack_address("::1"), b"2"), (LOOPBACK, b"2")])


def test_what_the_queue_refuses_is_counted_by_exporter() -> None:
    queue = ChunkQueue(20_000)
    with receiving([Listener(host="127.0.0.1", port=0)], queue) as receiver, sender_to(receiver.addresses[0]) as sender:
        for _ in range(100):
            sender.send(bytes(1000))
    kept = sum(len(chunk.payloads) for chunk in queue.take(0))
    assert receiver.received == 100
    assert receiver.queue_drops == 100 - kept > 0
    assert receiver.taken_drops() == {LOOPBACK: 100 - kept}
    assert receiver.taken_drops() == {}
    assert queue.octets == 0


def test_what_the_kernel_drops_is_counted() -> None:
    udp = open_socket(Listener(host="127.0.0.1", port=0, receive_buffer_bytes=4608))
    with udp, sender_to(udp.getsockname()) as sender:
        for _ in range(200):
            sender.send(bytes(1000))
        kept = 0
        while taken := bulk_receiver().receive(udp)[1]:
            kept += len(taken)
        assert kernel_drops(udp) == 200 - kept > 0


def test_kernel_drops_reach_the_totals_of_the_receiver() -> None:
    queue = ChunkQueue(1 << 20)
    receiver = UdpReceiver([Listener(host="127.0.0.1", port=0, receive_buffer_bytes=4608)], queue, lambda: 0)
    receiver.open()
    with sender_to(receiver.addresses[0]) as sender:  # nobody receives yet
        for _ in range(200):
            sender.send(bytes(1000))
    receiver.start()
    receiver.stop()
    assert receiver.received + receiver.socket_drops == 200
    assert receiver.socket_drops > 0


def test_a_refused_source_is_counted_and_not_handed_on() -> None:
    queue = ChunkQueue(1 << 20)
    listener = Listener(host="127.0.0.1", port=0)
    with receiving([listener], queue, identify=lambda _: None) as receiver, sender_to(receiver.addresses[0]) as sender:
        for _ in range(10):
            sender.send(b"x")
    assert (receiver.received, receiver.refused, queue.take(0)) == (10, 10, [])


def test_more_sources_than_are_remembered_are_taken_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.listeners.udp._KNOWN_SOURCES", 4)
    queue = ChunkQueue(1 << 20)
    sources = [f"127.4.0.{number}" for number in range(1, 20)]
    with receiving([Listener(host="127.0.0.1", port=0)], queue) as receiver:
        for source in sources * 2:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.bind((source, 0))
                udp.sendto(source.encode(), receiver.addresses[0])
        taken = take(queue, len(sources) * 2)
    assert taken == [(pack_address(source), source.encode()) for source in sources * 2]


def test_every_listener_that_fails_is_named_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        listeners = [Listener(host="127.0.0.1", port=taken), Listener(host="203.0.113.7", port=0)]
        with pytest.raises(ConfigError) as failed:
            UdpReceiver(listeners, ChunkQueue(1 << 20), lambda: 0).open()
    assert failed.value.problems == (
        f"ingest.listeners: UDP 127.0.0.1 port {taken}: Address already in use; `ss -lnp` shows who has it",
        "ingest.listeners: UDP 203.0.113.7 port 0: Cannot assign requested address; no interface of this machine has this address",
    )


@pytest.mark.parametrize("receiver", [bulk_receiver(), OneByOne()], ids=["many", "one"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ways_to_receive_agree(receiver: BulkReceiver, host: str) -> None:
    with open_socket(Listener(host="127.0.0.1", port=0)) as other, sender_to(other.getsockname()) as sender:
        sender.send(b"of the other family")
        receiver.receive(other)
    with open_socket(Listener(host=host, port=0)) as udp, sender_to(udp.getsockname()[:2]) as sender:
        assert receiver.receive(udp) == ([], [])
        sent = [struct.pack(">I", n) * (n % 300) for n in range(SLOTS + 3)]
        for payload in sent:
            sender.send(payload)
        first, second = receiver.receive(udp), receiver.receive(udp)
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    assert [*first[1], *second[1]] == sent
    assert set(first[0]) == set(second[0]) == {packed}
    assert len(first[0]) == SLOTS


def test_linux_has_the_fast_way() -> None:
    assert isinstance(bulk_receiver(), ManyAtOnce)


def test_the_queue_wakes_for_enough_octets_only() -> None:
    queue = ChunkQueue(10_000)
    taken: list[list[Chunk]] = []
    taker = threading.Thread(target=lambda: taken.append(queue.take(10, 2_000)))
    taker.start()
    small = Chunk(0, [LOOPBACK], [bytes(1000)])
    assert queue.put(small)
    assert queue.put(small)
    taker.join(10)
    assert [len(chunks) for chunks in taken] == [2]
    assert queue.octets == 0


def test_wake_returns_at_once_with_what_there_is() -> None:
    queue = ChunkQueue(10_000)
    taken: list[list[Chunk]] = []
    queue.put(Chunk(0, [LOOPBACK], [b"x"]))
    taker = threading.Thread(target=lambda: taken.append(queue.take(60, 2_000)))
    taker.start()
    while taker.is_alive():
        queue.wake()
    assert [len(chunks) for chunks in taken] == [1]
