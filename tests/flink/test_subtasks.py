"""Placement of keys, against what was seen on Flink 1.16 with parallelism 2 (which worker process read which element)."""

from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from hypothesis import given
from hypothesis import strategies as st

from flink.subtasks import key_group, length_prefixed, salt_for, subtask_of


def test_bytes_go_where_flink_sent_them() -> None:
    assert [subtask_of(length_prefixed(bytes([n])), 2) for n in range(8)] == [0, 1, 0, 1, 1, 0, 1, 0]


def test_ints_go_where_flink_sent_them() -> None:
    placed = [subtask_of(VarIntCoder().encode(n), 2) for n in range(4)]
    assert sorted(placed) == [0, 0, 1, 1]


def test_tuples_that_all_went_to_one_subtask_are_told() -> None:
    coder = TupleCoder((VarIntCoder(), VarIntCoder()))
    assert len({subtask_of(length_prefixed(coder.encode((n, 0))), 2) for n in range(4)}) == 1


@given(st.binary(max_size=300))
def test_lengths_are_nested_as_beam_does(data: bytes) -> None:
    nested = TupleCoder((BytesCoder(), BytesCoder())).encode((data, b""))
    assert nested == length_prefixed(data)


@given(st.binary(max_size=20), st.integers(1, 128))
def test_a_subtask_is_a_range_of_key_groups(key: bytes, parallelism: int) -> None:
    assert 0 <= key_group(key) < 128
    assert 0 <= subtask_of(key, parallelism) < parallelism


@given(st.integers(1, 16), st.data())
def test_salts_spread_elements_as_wanted(parallelism: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(0, parallelism - 1))

    def element(salt: int) -> bytes:
        return f"partition {wanted} {salt}".encode()

    assert subtask_of(length_prefixed(element(salt_for(wanted, element, parallelism))), parallelism) == wanted
