"""The queue between the receiving threads and the decoding one keeps its bound, also by what it hands out at once."""

from ingest.chunks import Chunk, ChunkQueue

SOURCE = bytes(16)


def chunk(octets: int) -> Chunk:
    return Chunk(0, [SOURCE], [bytes(octets)])


def test_no_more_is_handed_out_at_once_than_asked_for_and_one_chunk() -> None:
    queue = ChunkQueue(1 << 20)
    chunks = [chunk(1000) for _ in range(10)]
    assert all(map(queue.put, chunks))
    first = queue.take(0, most_bytes=3 * chunks[0].octets + 1)
    assert first == chunks[:4]
    assert queue.octets == sum(each.octets for each in chunks[4:])
    assert queue.take(0) == chunks[4:]
    assert queue.octets == 0


def test_the_end_of_a_connection_is_handed_out_though_it_has_no_octets() -> None:
    queue = ChunkQueue(1 << 20)
    ended = Chunk(0, [SOURCE], [], session=1, ended=True)
    assert queue.put(ended)
    assert queue.take(0, enough_bytes=0, most_bytes=1) == [ended]


def test_what_does_not_fit_is_refused_whole() -> None:
    queue = ChunkQueue(3_000)
    assert queue.put(chunk(2_000))
    assert not queue.put(chunk(2_000))
    assert queue.octets == chunk(2_000).octets
