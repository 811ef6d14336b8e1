"""The small operations that everything rests on, against plain Python."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.arrays import MAX, by_code, run_ends, saturating_add, sort_keys
from columns.distinct import distinct_addresses, distinct_codes, distinct_pairs
from columns.order import beyond, contenders
from columns.packing import pack_arrays, pack_texts, unpack_arrays, unpack_texts
from columns.scale import scale
from columns.spread import spread
from columns.sums import sum_by_key
from common.errors import InputError

COUNTS = st.integers(0, MAX)
KEYED = st.lists(st.tuples(st.integers(0, 40), COUNTS, st.integers(0, 9)), max_size=40)


def ints(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@given(KEYED, st.sampled_from([6, 20, 60]))
def test_sums_by_key_saturate(rows: Sequence[tuple[int, int, int]], key_bits: int) -> None:
    expected: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for key, first, second in rows:
        expected[key] = [min(expected[key][0] + first, MAX), expected[key][1] + second]
    keys, sums = sum_by_key(ints([row[0] for row in rows]), key_bits, ints([row[i] for i in (1, 2) for row in rows]).reshape(2, -1))
    assert dict(zip(keys.tolist(), sums.T.tolist(), strict=True)) == expected
    assert keys.tolist() == sorted(expected)


@given(st.lists(st.integers(0, 2**62 - 1), max_size=30), st.sampled_from([62, 63]))
def test_keys_sort_with_their_rows(keys: Sequence[int], key_bits: int) -> None:
    order, ordered = sort_keys(ints(keys), key_bits)
    assert ordered.tolist() == sorted(keys)
    assert ints(keys)[order].tolist() == sorted(keys)


@given(st.lists(st.integers(0, 3)))
def test_run_ends(values: Sequence[int]) -> None:
    expected = [i for i in range(len(values)) if i + 1 == len(values) or values[i] != values[i + 1]]
    assert run_ends(ints(values)).tolist() == expected


@given(st.dictionaries(st.integers(0, 10**6), COUNTS), st.lists(st.integers(0, 10**6)))
def test_values_by_code(table: dict[int, int], more: Sequence[int]) -> None:
    codes, wanted = sorted(table), [*table, *more]
    assert by_code(ints(codes), ints([table[c] for c in codes]), ints(wanted)).tolist() == [table.get(c, 0) for c in wanted]


@given(st.lists(st.tuples(COUNTS, COUNTS)))
def test_addition_saturates(pairs: Sequence[tuple[int, int]]) -> None:
    left, right = (ints([pair[i] for pair in pairs]) for i in (0, 1))
    assert saturating_add(left, right).tolist() == [min(a + b, MAX) for a, b in pairs]


ADDRESS = st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1) | st.integers(0, 5))


@given(st.lists(ADDRESS, max_size=20))
def test_distinct_addresses_are_in_the_order_of_their_octets(pairs: Sequence[tuple[int, int]]) -> None:
    distinct, codes = distinct_addresses(np.array(pairs, np.uint64).reshape(-1, 2))
    found = [tuple(each) for each in distinct.tolist()]
    assert found == sorted(set(pairs))
    assert [found[code] for code in codes.tolist()] == list(pairs)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**32)), max_size=20))
def test_distinct_pairs(pairs: Sequence[tuple[int, int]]) -> None:
    distinct, codes = distinct_pairs(ints([p[0] for p in pairs]), ints([p[1] for p in pairs]))
    found = [tuple(each) for each in distinct.tolist()]
    assert found == sorted(set(pairs))
    assert [found[code] for code in codes.tolist()] == list(pairs)


@pytest.mark.parametrize("domain", [10, 1 << 40])
def test_distinct_codes_by_table_and_by_sort(domain: int) -> None:
    distinct, codes = distinct_codes(ints([7, 3, 7, 0]), domain)
    assert (distinct.tolist(), codes.tolist()) == ([0, 3, 7], [2, 1, 2, 0])


VALUED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20) | COUNTS), max_size=40)


@given(VALUED, st.integers(1, 4))
def test_beyond_leaves_the_largest(rows: Sequence[tuple[int, int]], keep: int) -> None:
    gone = beyond(ints([row[0] for row in rows]), ints([row[1] for row in rows]), keep).tolist()
    for group in {row[0] for row in rows}:
        members = [(value, out) for (member, value), out in zip(rows, gone, strict=True) if member == group]
        kept = [value for value, out in members if not out]
        assert len(kept) == min(keep, len(members))
        # Values are rounded to at least 20 bits.
        assert all(value <= min(kept) * (1 + 2**-8) for value, out in members if out)


@given(VALUED, st.integers(1, 4))
def test_contenders_have_the_exact_top(rows: Sequence[tuple[int, int]], keep: int) -> None:
    found = set(contenders(ints([row[0] for row in rows]), ints([row[1] for row in rows]), keep).tolist())
    for group in {row[0] for row in rows}:
        ranked = sorted((value for member, value in rows if member == group), reverse=True)[:keep]
        assert {i for i, row in enumerate(rows) if row[0] == group and row[1] >= ranked[-1]} <= found


INTERVAL = st.floats(allow_nan=True, allow_infinity=True) | st.integers(1, 2**70).map(float)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), INTERVAL)))
def test_scaling(rows: Sequence[tuple[int, float]]) -> None:
    scaled, cut = scale(np.array([row[0] for row in rows], np.uint64), np.array([row[1] for row in rows], np.float64))
    expected = [exact(*row) for row in rows]
    assert scaled.tolist() == [min(value, MAX) for value in expected]
    assert cut.tolist() == [row for row, value in enumerate(expected) if value > MAX]


def exact(counter: int, interval: float) -> int:
    if not 0 < interval < float("inf"):
        return counter
    if interval.is_integer():
        return counter * int(interval)
    product = float(counter) * interval
    return MAX + 1 if product >= 2.0**63 else int(product)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 40 * 60_000), COUNTS), min_size=1, max_size=10))
def test_shares_add_up_and_are_fair(flows: Sequence[tuple[int, int, int]]) -> None:
    start, length, counter = (ints([flow[i] for flow in flows]) for i in range(3))
    shares = spread(start, start + length, counter[None])
    for number, (begin, duration, value) in enumerate(flows):
        mine = shares.flow == number
        assert sum(shares.values[0, mine].tolist()) == value
        assert int(shares.last[mine].sum()) == 1
        for window, share in zip(shares.window[mine].tolist(), shares.values[0, mine].tolist(), strict=True):
            inside = min((window + 1) * 60_000, begin + duration) - max(window * 60_000, begin)
            assert abs(share * duration - value * inside) <= duration


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300) | st.just(0)), max_size=6))
def test_packed_arrays_come_back(columns: Sequence[Sequence[int]]) -> None:
    data = pack_arrays(b"TEST", [np.array(column, np.uint64) for column in columns])
    assert [array.tolist() for array in unpack_arrays(b"TEST", data)] == [list(column) for column in columns]


def test_arrays_take_the_least_width() -> None:
    column = np.arange(100)
    sizes = [len(pack_arrays(b"TEST", [column * factor])) for factor in (0, 1, 256, 2**17, 2**40)]
    assert [size - sizes[0] for size in sizes] == [0, 104, 200, 400, 800]


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_packed_texts_come_back(texts: Sequence[str]) -> None:
    assert unpack_texts(*pack_texts(texts)) == tuple(texts)


def test_another_version_is_refused() -> None:
    data = bytearray(pack_arrays(b"TEST", []))
    data[4] = 9
    with pytest.raises(InputError, match=r"^TEST: state is b'TEST' version 9, this program reads version 2$"):
        unpack_arrays(b"TEST", bytes(data))
