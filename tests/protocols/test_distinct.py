"""Distinct values of parts are those that Arrow finds part by part, in the same order, whatever the hash makes of them."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import distinct
from ingest.distinct import Words, make_parts

_SAME = ((0, 0),) * 3
"""Every value is hashed to the first slot."""


def _check(parts: list[list[tuple[int, int]]], width: int) -> None:
    bounds = np.cumsum([0, *map(len, parts)])
    values = np.array([value for part in parts for value in part], np.uint64).reshape(-1, 2)
    words: list[Words] = [np.ascontiguousarray(values[:, word]) for word in range(width)]
    found = distinct.distinct(make_parts(bounds), words)
    for number, part in enumerate(parts):
        wanted = pa.array([repr(value[:width]) for value in part], pa.string()).dictionary_encode()
        rows = found.rows[found.starts[number] : found.starts[number + 1]] - bounds[number]
        assert found.codes[bounds[number] : bounds[number + 1]].tolist() == wanted.indices.to_pylist()
        assert [repr(part[row][:width]) for row in rows.tolist()] == wanted.dictionary.to_pylist()


_word = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
_parts = st.lists(st.lists(st.tuples(_word, _word), max_size=20), max_size=5)


@given(_parts, st.sampled_from((1, 2)))
def test_any_values_of_any_parts(parts: list[list[tuple[int, int]]], width: int) -> None:
    _check(parts, width)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("looks", [_SAME, (*_SAME[:2], distinct.MULTIPLIERS[0]), distinct.MULTIPLIERS])
def test_many_values_that_collide(width: int, looks: tuple[tuple[int, int], ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "MULTIPLIERS", looks)
    chance = random.Random(width)
    few = [chance.getrandbits(32) for _ in range(900)]
    sizes = (0, 1, 4_000, 0, 700, 3)
    _check([[(chance.choice(few), chance.choice((1, 2))) for _ in range(size)] for size in sizes], width)
