"""Which interfaces meter their egress themselves, so that nothing has to be inferred for them (`interface_accounting: auto`).

In: flows with their exporters. Out: which of them leave by such an interface. Pure; remembers interfaces in bounded number, and
what it forgets it learns again from the next egress flow.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

INTERFACES: Final = 1 << 18
_IF_BITS: Final = 32
Mask = NDArray[np.bool_]


class EgressMetering:
    """Interfaces (of exporters) that sent egress flows."""

    def __init__(self) -> None:
        self._interfaces: dict[bytes, set[int]] = {}
        self._held = 0

    def metered(self, exporters: pa.DictionaryArray, interfaces: NDArray[np.uint32], egress: Mask) -> Mask:
        """Which rows have an output interface that meters egress: the `egress` rows show that, for all rows and from now on."""
        codes = exporters.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        places = codes << _IF_BITS | interfaces
        addresses: list[bytes] = exporters.dictionary.to_pylist()
        for place in np.unique(places[egress]).tolist():
            self._note(addresses[place >> _IF_BITS], place & 0xFFFFFFFF)
        distinct, inverse = np.unique(places, return_inverse=True)
        known = [place & 0xFFFFFFFF in self._interfaces.get(addresses[place >> _IF_BITS], ()) for place in distinct.tolist()]
        return np.array(known, bool)[inverse]

    def _note(self, exporter: bytes, interface: int) -> None:
        of_exporter = self._interfaces.setdefault(exporter, set())
        if interface in of_exporter:
            return
        if self._held >= INTERFACES:
            self._interfaces = {exporter: (of_exporter := set())}
            self._held = 0
        of_exporter.add(interface)
        self._held += 1
