"""Placement of keys, against what was seen on Flink 1.16 with parallelism 2 (which worker process read which element)."""

from collections import Counter

import pytest
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from hypothesis import given
from hypothesis import strategies as st

from flink.job import element_of
from flink.subtasks import MAX_PARALLELISM, key_group, length_prefixed, salt_into, spread_group, subtask_of


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


def test_a_salt_moves_an_element_into_a_key_group() -> None:
    for wanted in (0, 63, 127):
        salt = salt_into(wanted, lambda salt: f"partition {salt}".encode())
        assert key_group(length_prefixed(f"partition {salt}".encode())) == wanted


def test_groups_are_used_once_each_before_any_is_used_again() -> None:
    assert [spread_group(number) for number in range(5)] == [0, 64, 32, 96, 16]
    assert sorted(map(spread_group, range(MAX_PARALLELISM))) == list(range(MAX_PARALLELISM))
    assert spread_group(MAX_PARALLELISM) == spread_group(0)


@pytest.mark.parametrize("partitions", [4, 12, 16, 64])
@pytest.mark.parametrize("parallelism", range(1, 9))
def test_partitions_spread_evenly_over_any_number_of_subtasks(partitions: int, parallelism: int) -> None:
    """Whatever parallelism a job is rescaled to: the busiest subtask has at most one partition more than its share, rounded up."""
    load = Counter(subtask_of(length_prefixed(element_of(partition)), parallelism) for partition in range(partitions))
    assert max(load.values()) <= -(-partitions // parallelism) + 1
    if partitions >= parallelism:
        assert len(load) == parallelism
