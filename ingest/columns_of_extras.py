"""Column `extras`: elements that the operator chose to keep, as the octets that came.

In: rows, and the choice of each exporter. Out: per flow a list of (pen, id, value). Refuses to know what the elements mean.
"""

from collections.abc import Sequence

import numpy as np

from ingest.choices import Choice
from ingest.elements import shipped
from ingest.layout import Layout
from ingest.rows import Rows


def put_extras(rows: Rows, choices: Sequence[Choice]) -> None:
    """Fill `extras` where the exporter's choice keeps any of the record's elements."""
    if not any(choice.keeps for choice in choices):
        return
    choice_of = rows.of_packet("choice")
    positions = np.arange(rows.out.rows)[rows.where]
    for number, choice in enumerate(choices):
        kept = _kept(rows.block.layout, choice)
        chosen = np.flatnonzero(choice_of == number)
        if not kept or not chosen.size:
            continue
        data = rows.block.data.tobytes()
        fields = [(pen, element, *rows.block.spans(place)) for pen, element, place in kept]
        records = chosen if rows.chosen is None else rows.chosen[chosen]
        extras = [
            [
                {"pen": pen, "id": element, "value": data[starts[record] : starts[record] + lengths[record]]}
                for pen, element, starts, lengths in fields
            ]
            for record in records.tolist()
        ]
        rows.out.put_objects("extras", positions[chosen], extras)


def _kept(layout: Layout, choice: Choice) -> list[tuple[int, int, int]]:
    return [
        (item.pen, item.id, place)
        for place, item in enumerate(layout.fields)
        if item.length
        and (
            choice.keep_all or (item.pen, item.id) in choice.keys or (choice.keep_unknown and (item.pen, item.id) not in shipped())
        )
    ]
