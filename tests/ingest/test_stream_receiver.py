"""IPFIX over TCP and TLS on real sockets: sessions, back-pressure, certificates, and an end for everything that goes wrong."""

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bus.memory import MemoryLog, MemoryProducer
from common.addresses import pack_address
from common.config import Bus, Ingest, Listener, Settings
from common.errors import ConfigError
from ingest.chunks import Chunk, ChunkQueue
from ingest.listeners.tcp import StreamReceiver, tls_context
from ingest.service import IngestService
from tests.ingest.packets import ipfix_flows, ipfix_template

LOOPBACK = pack_address("127.0.0.1")
TCP_REPAIR = 19  # Linux; a closed socket under repair says nothing to its peer
TCP = Listener(transport="tcp", host="127.0.0.1", port=0)


@contextmanager
def receiving(listeners: Sequence[Listener], queue: ChunkQueue, **options: object) -> Iterator[StreamReceiver]:
    receiver = StreamReceiver(listeners, queue, lambda: 1234, **options)  # type: ignore[arg-type]
    receiver.open()
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.005)


def all_of(queue: ChunkQueue) -> list[Chunk]:
    return queue.take(0)


def test_messages_of_a_connection_are_one_session_and_its_end_is_told() -> None:
    queue = ChunkQueue(1 << 20)
    stream = ipfix_template() + ipfix_flows(3) + ipfix_flows(2, 3)
    with receiving([TCP], queue) as receiver:
        for _ in range(2):
            with socket.create_connection(receiver.addresses[0]) as connection:
                for octet in stream:
                    connection.send(bytes([octet]))
        until(lambda: receiver.endings["closed"] == 2)
    chunks = all_of(queue)
    sessions = sorted({chunk.session for chunk in chunks})
    assert len(sessions) == 2
    for session in sessions:
        mine = [chunk for chunk in chunks if chunk.session == session]
        payloads = [payload for chunk in mine for payload in chunk.payloads]
        assert payloads == [ipfix_template(), ipfix_flows(3), ipfix_flows(2, 3)]
        assert [chunk.ended for chunk in mine] == [False] * (len(mine) - 1) + [True]
        assert {exporter for chunk in mine for exporter in chunk.exporters} == {LOOPBACK}
    assert (receiver.received, dict(receiver.endings)) == (6, {"closed": 2})


def test_junk_ends_the_connection_and_nothing_else() -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([TCP], queue) as receiver, socket.create_connection(receiver.addresses[0]) as good:
        with socket.create_connection(receiver.addresses[0]) as bad:
            bad.sendall(ipfix_template() + b"GET / HTTP/1.1\r\n\r\n")
            until(lambda: receiver.endings["malformed"] == 1)
        good.sendall(ipfix_flows(1))
        until(lambda: receiver.received == 2)
        good.shutdown(socket.SHUT_RDWR)
        until(lambda: receiver.endings.total() == 2)
    assert dict(receiver.endings) == {"malformed": 1, "closed": 1}


def test_a_connection_that_ends_inside_a_message_is_counted_as_cut_off() -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([TCP], queue) as receiver:
        with socket.create_connection(receiver.addresses[0]) as connection:
            connection.sendall(ipfix_flows(5)[:-1])
        until(lambda: receiver.endings["cut_off"] == 1)
    assert receiver.received == 0


def test_a_full_queue_holds_the_connection_back_and_loses_nothing() -> None:
    message = ipfix_flows(1000)
    queue = ChunkQueue(8 * len(message))
    sent, taken = 400, 0
    with receiving([TCP], queue) as receiver, socket.create_connection(receiver.addresses[0]) as connection:
        sender = threading.Thread(target=connection.sendall, args=(message * sent,))
        sender.start()
        until(lambda: queue.octets > len(message))
        assert queue.octets <= 8 * len(message)
        while taken < sent:
            taken += sum(len(chunk.payloads) for chunk in queue.take(1))
        sender.join()
    assert taken == sent


def test_refused_sources_and_too_many_connections() -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([TCP], queue, identify=lambda _: None) as receiver:
        with socket.create_connection(receiver.addresses[0]) as connection:
            assert connection.recv(1) == b""
        assert dict(receiver.endings) == {"refused": 1}
    with receiving([TCP.model_copy(update={"connections": 1})], queue) as receiver:
        with socket.create_connection(receiver.addresses[0]) as first:
            first.sendall(ipfix_template())
            until(lambda: receiver.received == 1)
            with socket.create_connection(receiver.addresses[0]) as second:
                assert second.recv(1) == b""
        until(lambda: receiver.endings["closed"] == 1)
        assert receiver.endings["too_many"] == 1
        with socket.create_connection(receiver.addresses[0]) as third:
            third.sendall(ipfix_template())
            until(lambda: receiver.received == 2)


def test_stopping_takes_what_has_arrived() -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([TCP], queue) as receiver:
        connection = socket.create_connection(receiver.addresses[0])
        connection.sendall(ipfix_template())
        until(lambda: receiver.received == 1)
        connection.sendall(ipfix_flows(2) * 50)
    connection.close()
    assert receiver.received == 51
    assert dict(receiver.endings) == {"stopped": 1}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for authority, names in (("ca", ("server", "exporter")), ("other", ("stranger",))):
        key, certificate = _certificate(folder, authority, None, None)
        for name in names:
            _certificate(folder, name, key, certificate)
    return folder


def _certificate(
    folder: Path, name: str, issuer_key: ec.EllipticCurvePrivateKey | None, issuer: x509.Certificate | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    certificate = builder.sign(issuer_key or key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return key, certificate


def tls_listener(folder: Path) -> Listener:
    return Listener(
        transport="tls",
        host="127.0.0.1",
        port=0,
        certificate_file=str(folder / "server.pem"),
        client_ca_file=str(folder / "ca.pem"),
    )


def client(folder: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(folder / f"{name}.pem")
    return context


def test_tls_with_a_known_client_certificate(certificates: Path) -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([tls_listener(certificates)], queue) as receiver:
        with (
            socket.create_connection(receiver.addresses[0]) as plain,
            client(certificates, "exporter").wrap_socket(plain) as connection,
        ):
            connection.sendall(ipfix_template() + ipfix_flows(4))
            until(lambda: receiver.received == 2)
            connection.unwrap()
        until(lambda: receiver.endings.total() == 1)
    assert dict(receiver.endings) == {"closed": 1}


def test_nothing_older_than_tls_1_2_is_spoken(certificates: Path) -> None:
    context = tls_context(tls_listener(certificates))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED


def talk(context: ssl.SSLContext, plain: socket.socket) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError), context.wrap_socket(plain) as connection:  # TLS 1.3 tells it late
        connection.sendall(ipfix_template())
        assert connection.recv(1) == b""


@pytest.mark.parametrize("name", [None, "stranger"])
def test_tls_without_a_known_client_certificate_is_refused(certificates: Path, name: str | None) -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([tls_listener(certificates)], queue) as receiver:
        with socket.create_connection(receiver.addresses[0]) as plain:
            talk(client(certificates, name), plain)
        until(lambda: receiver.endings["handshake_failed"] == 1)
    assert receiver.received == 0


def test_half_open_tls_is_given_up_after_its_time(certificates: Path) -> None:
    queue = ChunkQueue(1 << 20)
    with (
        receiving([tls_listener(certificates)], queue, handshake_s=0.1) as receiver,
        socket.create_connection(receiver.addresses[0]) as silent,
        socket.create_connection(receiver.addresses[0]) as junk,
    ):
        junk.sendall(b"this is no hello")
        until(lambda: receiver.endings["handshake_failed"] == 2)
        assert silent.recv(1) == b""


def vanish(connection: socket.socket) -> None:
    """Close without a word to the other end, as a peer does whose power went."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        pytest.skip("vanishing takes CAP_NET_ADMIN")
    connection.close()


def test_peers_that_vanish_are_noticed(certificates: Path) -> None:
    queue = ChunkQueue(1 << 20)
    with receiving([TCP, tls_listener(certificates)], queue, keepalive_s=1) as receiver:
        plain = socket.create_connection(receiver.addresses[0])
        secure = client(certificates, "exporter").wrap_socket(socket.create_connection(receiver.addresses[1]))
        for connection in (plain, secure):
            connection.sendall(ipfix_template())
        until(lambda: receiver.received == 2)
        for connection in (plain, secure):
            vanish(connection)
        until(lambda: receiver.endings.total() == 2)
    assert dict(receiver.endings) == {"reset": 2}
    assert [chunk.ended for chunk in all_of(queue)].count(True) == 2


def test_wrong_certificates_and_ports_are_named_at_once(certificates: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        missing = tls_listener(certificates).model_copy(update={"certificate_file": "/none.pem"})
        no_ca = tls_listener(certificates).model_copy(update={"client_ca_file": "/none.pem"})
        with pytest.raises(ConfigError) as failed:
            StreamReceiver([TCP.model_copy(update={"port": port}), missing, no_ca], ChunkQueue(1 << 20), lambda: 0).open()
    assert failed.value.problems == (
        f"ingest.listeners: TCP 127.0.0.1 port {port}: Address already in use; `ss -lnp` shows who has it",
        "ingest.listeners: TLS 127.0.0.1 port 0: certificate /none.pem: No such file or directory",
        "ingest.listeners: TLS 127.0.0.1 port 0: client_ca_file /none.pem: No such file or directory",
    )


def test_templates_live_and_end_with_their_connection(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), ingest=Ingest(listeners=(TCP,)), bus=Bus(lanes=1))
    service = IngestService(settings, MemoryProducer(MemoryLog(1)))
    service.start()
    for stream in (ipfix_template() + ipfix_flows(3), ipfix_flows(2)):
        with socket.create_connection(service.addresses[0]) as connection:
            connection.sendall(stream)
    until(lambda: service.counters.value("ingest_connections_total", reason="closed") == 2)
    service.stop()
    assert service.counters.value("ingest_flows_total", protocol="ipfix") == 3
    assert service.counters.value("ingest_problems_total", reason="template_missing") == 1
