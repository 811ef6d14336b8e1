"""The application that the exporter itself names.

In: the columns application_name and application_id of a batch. Out: one column of names: the name where there is one, else what the
id stands for by itself (RFC 6759 section 4: engine 1 numbers IANA's protocols, engine 3 IANA's ports). Ids of other engines mean
nothing without the exporter's own table, which ingest has put into application_name where it was sent. Refuses to know rules.
"""

from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns.registries import protocol_numbers, services
from flowpb.schema import TEXT

_IANA_L3: Final = 1
_IANA_L4: Final = 3


def exported_applications(flows: pa.RecordBatch) -> pa.DictionaryArray | None:
    """Names as the exporter has them; None if the batch has neither column."""
    columns = set(flows.schema.names)
    name = flows.column("application_name") if "application_name" in columns else None
    if "application_id" not in columns:
        return name
    by_id = _names_of(flows.column("application_id"))
    if name is None:
        return by_id
    return pc.coalesce(name.cast(pa.string()), by_id.cast(pa.string())).dictionary_encode().cast(TEXT)


def name_of_id(identifier: bytes) -> str | None:
    """What an application id (engine, then selector) stands for by itself; None if it takes the exporter to know."""
    if len(identifier) < 2:
        return None
    selector = int.from_bytes(identifier[1:], "big")
    match identifier[0]:
        case engine if engine == _IANA_L3:
            return _protocols().get(selector)
        case engine if engine == _IANA_L4:
            return _ports().get(selector)
        case _:
            return None


def _names_of(column: pa.Array) -> pa.DictionaryArray:
    encoded = column.dictionary_encode()
    names = [None if identifier is None else name_of_id(identifier) for identifier in encoded.dictionary.to_pylist()]
    texts = pa.array(names, pa.string()).dictionary_encode()
    codes = np.append(pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False), -1)
    code = codes[pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)]
    return pa.DictionaryArray.from_arrays(pa.array(code, pa.int32(), mask=code < 0), texts.dictionary)


@cache
def _protocols() -> dict[int, str]:
    return {number: keyword for keyword, number in protocol_numbers().items()}


@cache
def _ports() -> dict[int, str]:
    """The first service of each port."""
    return {service.port: service.name for service in reversed(services())}
