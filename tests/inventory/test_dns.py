"""Reverse DNS: what is known at once, what later, and how little is ever kept; against a real name server on the wire."""

import socket
import threading
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pyarrow as pa
import pytest

from common.addresses import pack_address
from common.errors import ConfigError
from flowpb.schema import ADDRESS, TEXT
from inventory.dns import Counts, Resolver, ReverseDns, dns_lookup, process_resolver

_A, _B, _C = (pack_address(text) for text in ("10.0.0.1", "10.0.0.2", "2001:db8::1"))
_NAMES = {
    "1.0.0.10.in-addr.arpa.": ("a.example.", 300),
    f"{'.'.join(reversed('20010db8' + '0' * 23 + '1'))}.ip6.arpa.": ("c.example.", 5),
}


@pytest.fixture
def name_server() -> Iterator[str]:
    """Answers for 10.0.0.1 and 2001:db8::1; has no answer for 10.0.0.2; says NXDOMAIN for all else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(server,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"", server.getsockname())
        thread.join()


def _serve(server: socket.socket) -> None:
    while True:
        packet, client = server.recvfrom(4096)
        if not packet:
            return
        query = dns.message.from_wire(packet)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        name = query.question[0].name
        if str(name) in _NAMES:
            target, ttl = _NAMES[str(name)]
            response.answer.append(dns.rrset.from_text(name, ttl, "IN", "PTR", target))
        elif str(name) != "2.0.0.10.in-addr.arpa.":
            response.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(response.to_wire(), client)


def _flows(*addresses: bytes | None) -> pa.RecordBatch:
    column = pa.array(addresses, pa.binary(16)).dictionary_encode().cast(ADDRESS)
    return pa.RecordBatch.from_arrays([column], names=["src_addr"])


def _resolver(answers: dict[bytes, tuple[str | None, float]], now: list[float], **settings: float) -> Resolver:
    def look_up(address: bytes) -> tuple[str | None, float]:
        if address not in answers:
            raise dns.exception.Timeout
        return answers[address]

    return Resolver(ReverseDns(**settings), look_up, lambda: now[0])  # type: ignore[arg-type]


def _resolve_all(resolver: Resolver) -> None:
    resolver.queue.put(None)
    resolver.run()


def test_over_the_wire(name_server: str) -> None:
    look_up = dns_lookup(ReverseDns(servers=(name_server,)))
    assert [look_up(address) for address in (_A, _C, _B, pack_address("192.0.2.1"))] == [
        ("a.example", 300.0),
        ("c.example", 5.0),
        (None, 600.0),
        (None, 600.0),
    ]


def test_a_flow_never_waits(name_server: str) -> None:
    settings = ReverseDns(servers=(name_server,), threads=2)
    assert settings.columns(_flows(_A, None, _C)) == {}
    resolver = process_resolver(settings)
    resolver.stop()
    columns = settings.columns(_flows(_A, None, _C, _B, _A))
    assert columns["src_hostname"].type == TEXT
    assert columns["src_hostname"].to_pylist() == ["a.example", None, "c.example", None, "a.example"]
    assert resolver.counts == Counts(answered=2, unknown=3, found=2)


def test_counts_are_those_since_they_were_last_taken() -> None:
    resolver = _resolver({_A: ("a", 60.0)}, [0.0])
    resolver.known([_A, _B])
    _resolve_all(resolver)
    resolver.known([_A])
    assert resolver.take_counts() == Counts(answered=1, unknown=2, found=1, failed=1)
    assert resolver.take_counts() == Counts()


def test_names_are_kept_for_their_ttl_within_limits() -> None:
    answers: dict[bytes, tuple[str | None, float]] = {_A: ("a", 5.0), _B: ("b", 1e9), _C: (None, 600.0)}
    now = [0.0]
    resolver = _resolver(answers, now, shortest_s=60.0, longest_s=1000.0)
    assert resolver.known([_A, _B, _C]) == [None, None, None]
    _resolve_all(resolver)
    for now[0], asked in ((59.0, set()), (60.0, {_A}), (600.0, {_A, _C}), (1000.0, {_A, _B, _C})):
        assert resolver.known([_A, _B, _C]) == ["a", "b", None], "a former name serves until there is a new one"
        assert resolver.waiting == asked


def test_a_failure_keeps_the_former_name_and_is_tried_again_later() -> None:
    answers: dict[bytes, tuple[str | None, float]] = {_A: ("a", 60.0)}
    now = [0.0]
    resolver = _resolver(answers, now, failed_s=100.0)
    resolver.resolve(_A)
    answers.clear()
    now[0] = 60.0
    resolver.known([_A])
    _resolve_all(resolver)
    now[0] = 159.0
    assert resolver.known([_A]) == ["a"]
    assert (resolver.waiting, resolver.counts.failed) == (set(), 1)


def test_bounds() -> None:
    resolver = _resolver({_A: ("a", 60.0), _B: ("b", 60.0), _C: ("c", 60.0)}, [0.0], most_names=2, most_waiting=2)
    resolver.known([_A, _B, _C])
    assert resolver.counts == Counts(unknown=2, refused=1)
    for address in (_A, _B, _C):
        resolver.resolve(address)
    assert list(resolver.names) == [_B, _C]


@pytest.mark.parametrize("server", ["", "ns.example", "127.0.0.1:x", "127.0.0.1:"])
def test_what_is_no_name_server(server: str) -> None:
    with pytest.raises(ConfigError, match="is no ADDRESS"):
        dns_lookup(ReverseDns(servers=(server,)))
