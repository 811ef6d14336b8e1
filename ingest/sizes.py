"""About how many octets a batch has: what `nbytes` says, at a tenth of its cost.

In: record batches, mostly of one schema. Out: octets. Columns whose values all have the same width count by their rows,
dictionaries by their values too; of the rest Arrow is asked. Pure, but for the schema that is remembered.
"""

from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(slots=True)
class Sizes:
    """Remembers how wide the columns of the last schema are: octets and bits of a row, and the places of the rest."""

    _schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    _row_bits: int = 0
    _dictionaries: tuple[int, ...] = ()
    _others: tuple[int, ...] = ()

    def octets(self, flows: pa.RecordBatch) -> int:
        """Of these flows; with all bitmaps, so never less than they take."""
        if not flows.schema.equals(self._schema):
            self._learn(flows.schema)
        octets = (flows.num_rows * self._row_bits + 7) // 8
        for place in self._dictionaries:
            octets += flows.column(place).dictionary.nbytes
        for place in self._others:
            octets += flows.column(place).nbytes
        return int(octets)

    def _learn(self, schema: pa.Schema) -> None:
        bits, dictionaries, others = 0, [], []
        for place, kind in enumerate(schema.types):
            if pa.types.is_dictionary(kind):
                dictionaries.append(place)
                kind = kind.index_type
            try:
                bits += kind.bit_width + 1
            except ValueError:
                others.append(place)
        self._schema, self._row_bits, self._dictionaries, self._others = schema, bits, tuple(dictionaries), tuple(others)
