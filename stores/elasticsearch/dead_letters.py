"""Where documents go that Elasticsearch refused for good: an index of their own, with the reason and the text.

In: dead letters of bulk requests. Out: documents that any mapping takes. Refuses to lose one: when even this fails, so does the
bundle. Ids are hashes of the content, so that a replay writes nothing twice.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

import orjson

from common.errors import StoreError
from stores.elasticsearch.bulk import DeadLetter
from stores.elasticsearch.client import NDJSON, Client
from stores.elasticsearch.layout import DEAD_LETTERS, index_at


def burial(client: Client, now_s: Callable[[], float] = time.time) -> Callable[[Sequence[DeadLetter]], None]:
    """A function that writes dead letters to the server that refused them; it raises StoreError."""

    def bury(letters: Sequence[DeadLetter]) -> None:
        now_ms = int(now_s() * 1000)
        body = b"".join(_lines(letter, now_ms) for letter in letters)
        index = index_at(client.target.prefix, DEAD_LETTERS, now_ms)
        answer = client.send("POST", f"/{index}/_bulk?filter_path=errors,items.*.error", body, NDJSON)
        if answer.status >= 300 or answer.content.get("errors"):
            raise StoreError(f"{client.target.place}: dead letters not taken: {answer.reason}")

    return bury


def _lines(letter: DeadLetter, now_ms: int) -> bytes:
    action, _, document = letter.lines.partition(b"\n")
    [operation] = orjson.loads(action).values()
    identity = hashlib.blake2b(letter.index.encode() + letter.lines, digest_size=16).hexdigest()
    row = {
        "@timestamp": now_ms,
        "reason": letter.reason,
        "message": letter.message,
        "index": letter.index,
        "id": operation.get("_id"),
        "document": document.decode(errors="replace").strip(),
    }
    return orjson.dumps({"index": {"_id": identity}}) + b"\n" + orjson.dumps(row) + b"\n"
