"""Binary search of many values at once, in an order that is kind to the cache.

In: sorted keys and values in any order. Out: what `numpy.searchsorted` gives. Refuses to know what is searched.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from columns.arrays import Ints

_FITS_CACHE: Final = 32_768


def search(keys: NDArray[Any], wanted: NDArray[Any], side: Literal["left", "right"] = "left") -> Ints:
    """Where each wanted value goes among the keys.

    20,000 values among 1.6 million keys: 6.6 ms as they come, 1.6 ms sorted first, sorting included.
    """
    if len(keys) < _FITS_CACHE:
        return np.searchsorted(keys, wanted, side)
    order = np.argsort(wanted)
    found = np.empty(len(wanted), np.int64)
    found[order] = np.searchsorted(keys, wanted[order], side)
    return found
