"""Values to dense codes: distinct values in order, and for each element the number of its value.

In: columns of addresses, texts or small integers. Out: sorted distinct values and codes, so that comparing codes compares values.
Refuses to know which column it is.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints, Mask, Words, bits_of, run_ends, sort_keys

_TABLE: Final = 1 << 16
"""A table of presence of up to this many entries, or of four per element, is cheaper than a sort."""


def distinct_addresses(words: Words) -> tuple[Words, Ints]:
    """Distinct addresses in the order of their 16 octets, from and as (n, 2) big-endian halves, and the code of each."""
    if not len(words):
        return words, np.empty(0, np.int64)
    high, low = words[:, 0], words[:, 1]
    least, span = low.min(), int(low.max() - low.min())
    if span < 1 << 62 and (high == high[0]).all():
        lows, codes = distinct_codes((low - least).view(np.int64), span + 1)
        return np.stack([np.full(len(lows), high[0]), lows.view(np.uint64) + least], axis=1), codes
    highs, high_codes = np.unique(high, return_inverse=True)
    lows, low_codes = np.unique(low, return_inverse=True)
    pairs, codes = distinct_codes(high_codes * len(lows) + low_codes, len(highs) * len(lows))
    return np.stack([highs[pairs // len(lows)], lows[pairs % len(lows)]], axis=1), codes


def distinct_codes(values: Ints, domain: int) -> tuple[Ints, Ints]:
    """Distinct values in order and the code of each element; values are in 0 .. domain - 1."""
    if domain > max(_TABLE, 4 * len(values)):
        order, ordered = sort_keys(values, bits_of(domain))
        ends = run_ends(ordered)
        codes = np.empty(len(values), np.int64)
        codes[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
        return ordered[ends], codes
    present = np.zeros(domain, np.bool_)
    present[values] = True
    return np.flatnonzero(present), renumbering(present)[values]


def distinct_numbers(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values in order and the code of each element, where values are far fewer than elements and of any size."""
    encoded = pa.array(values).dictionary_encode()
    dictionary = encoded.dictionary.to_numpy()
    order = np.argsort(dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return dictionary[order], rank[encoded.indices.to_numpy()]


def distinct_pairs(major: Ints, minor: Ints) -> tuple[Ints, Ints]:
    """Distinct pairs (n, 2) ordered by major, then minor, and the code of each; the product of their largest fits in 63 bits."""
    width = int(minor.max(initial=0)) + 1
    keys, codes = distinct_codes(major * width + minor, (int(major.max(initial=0)) + 1) * width)
    return np.stack([keys // width, keys % width], axis=1), codes


def distinct_texts(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Distinct texts in the order of their UTF-8 octets, which is that of their code points; None is left out."""
    return tuple(sorted({text for text in texts if text is not None}))


def renumbering(used: Mask) -> Ints:
    """New code of each used old one; what it says about the others means nothing."""
    return np.cumsum(used, dtype=np.int64) - 1
