"""A snapshot of another host: followed by ETag, and never replaced by something that is none."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from columns.snapshot import open_snapshot
from inventory.compile import Content, compile_content
from inventory.fetch import SnapshotFetcher
from inventory.http import SourceError
from inventory.model import Node


class _Served:
    body = b""
    etag = '"1"'
    status = 200
    sent = 0


@pytest.fixture
def served() -> Iterator[tuple[str, _Served]]:
    state = _Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 304 if self.headers.get("If-None-Match") == state.etag else state.status
            body = state.body if status == 200 else b""
            state.sent += len(body)
            self.send_response(status)
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/inventory.arrow", state
        server.shutdown()
        thread.join()


def _snapshot(folder: Path, label: str) -> bytes:
    path = folder / "made.arrow"
    compile_content(Content([Node(label=label, addresses=("10.0.0.1",))])).write(path, 1)
    return path.read_bytes()


def _label(path: Path) -> str:
    label: str = open_snapshot(path).tables["nodes"].field("label")[0].as_py()
    return label


def test_only_a_new_one_is_fetched(tmp_path: Path, served: tuple[str, _Served]) -> None:
    url, server = served
    path = tmp_path / "inventory.arrow"
    server.body = _snapshot(tmp_path, "first")
    fetcher = SnapshotFetcher(url, path)
    assert [fetcher.fetch(), fetcher.fetch(), _label(path)] == [True, False, "first"]
    assert server.sent == len(server.body)
    server.body, server.etag = _snapshot(tmp_path, "second"), '"2"'
    assert [fetcher.fetch(), _label(path)] == [True, "second"]
    path.unlink()
    assert fetcher.fetch(), "a file that is gone is fetched again"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(500, b"", "HTTP status 500"), (200, b"<html>", "is no snapshot"), (200, b"x" * 3000, "larger than 2000 octets")],
)
def test_what_is_there_stays(tmp_path: Path, served: tuple[str, _Served], status: int, body: bytes, message: str) -> None:
    url, server = served
    path = tmp_path / "inventory.arrow"
    path.write_bytes(_snapshot(tmp_path, "good"))
    server.status, server.body = status, body
    with pytest.raises(SourceError, match=message):
        SnapshotFetcher(url, path, max_bytes=2000).fetch()
    assert _label(path) == "good"
    assert [file.name for file in tmp_path.iterdir() if "fetched" in file.name] == []


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ConnectionError"):
        SnapshotFetcher("http://127.0.0.1:9/x", tmp_path / "x").fetch()
