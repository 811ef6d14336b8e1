"""Pieces of JSON for columns: written once per distinct value or combination of values, and given out to the rows.

In: columns and the names of their members. Out: text columns of `,"name":value`, empty where there is no value. Refuses to know
which document they become part of. Escaping happens here, on distinct values only.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowpb.schema import ADDRESS, EXTRA
from stores.addresses import address_texts

Ints = NDArray[np.int64]
_SIGNED_MAX: Final = (1 << 63) - 1
_CODES: Final = 1 << 62
_FEW: Final = 4


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts of distinct values, the first of them for "no value", and the number of each row's."""

    code: Ints
    texts: pa.StringArray

    def rows(self) -> pa.StringArray:
        """The text of each row."""
        return self.texts.take(pa.array(self.code))


Part: TypeAlias = Any
"""What a row's text is made of: a text for all rows, Coded by distinct values, or a column of each row's own."""


def join_rows(parts: Sequence[Part]) -> pa.StringArray:
    """The parts of each row in one text, null as nothing.

    What all rows have costs as much as a column, so it goes to the distinct texts behind it, where these are few.
    """
    found: list[Any] = []
    constant = ""
    for part in parts:
        if isinstance(part, str):
            constant += part
        elif not isinstance(part, Coded):
            found += [constant, part] if constant else [part]
            constant = ""
        elif (part.code == part.code[0]).all():
            constant += part.texts[int(part.code[0])].as_py() or ""
        elif constant and len(part.texts) * _FEW <= len(part.code):
            found.append(Coded(part.code, pc.binary_join_element_wise(constant, pc.fill_null(part.texts, ""), "")).rows())
            constant = ""
        else:
            found += [constant, part.rows()] if constant else [part.rows()]
            constant = ""
    return pc.binary_join_element_wise(*found, constant, "", null_handling="replace", null_replacement="")


def text_of(value: Any) -> str | None:
    """JSON of a value; None for what JSON cannot say."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    if isinstance(value, bytes):
        return json.dumps(value.hex(":") if len(value) == 6 else value.hex())
    return json.dumps(value, ensure_ascii=False)


def code_column(column: pa.Array, spell: Callable[[Any], str | None] = text_of) -> Coded:
    """A column by its distinct values; `spell` gives the JSON of one, without its name."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    code = pc.fill_null(column.indices, -1).to_numpy().astype(np.int64) + 1
    dictionary = column.dictionary
    if column.type == ADDRESS:
        quoted = pc.binary_join_element_wise('"', address_texts(dictionary), '"', "")
        return Coded(code, pa.concat_arrays([pa.nulls(1, pa.string()), quoted]))
    spelled = (None if value is None else spell(value) for value in dictionary.to_pylist())
    return Coded(code, pa.array([None, *spelled], pa.string()))


def member(name: str, coded: Coded) -> Coded:
    """Values with their name before them."""
    return Coded(coded.code, pc.fill_null(pc.binary_join_element_wise(f',"{name}":', coded.texts, ""), ""))


def combine(members: Sequence[Coded]) -> Coded:
    """All members of each row in one text, joined once per combination that occurs."""
    varying = [each for each in members if len(each.texts) > 1]
    if len(varying) <= 1:
        return varying[0] if varying else Coded(np.zeros(len(members[0].code), np.int64), pa.array([""]))
    code, size = varying[0].code, len(varying[0].texts)
    for each in varying[1:]:
        if size * len(each.texts) >= _CODES:
            code, size = _dense(code)
        code, size = code * len(each.texts) + each.code, size * len(each.texts)
    code, size = _dense(code)
    row = np.empty(size, np.int64)
    row[code[::-1]] = np.arange(len(code))[::-1]
    texts = [each.texts.take(pa.array(each.code[row])) for each in varying]
    return Coded(code, pc.binary_join_element_wise(*texts, ""))


def wrap(name: str, coded: Coded) -> Coded:
    """Members as an object of their own; none where there is no member."""
    inner = pc.utf8_slice_codeunits(coded.texts, 1)
    whole = pc.binary_join_element_wise(f',"{name}":{{', inner, "}", "")
    return Coded(coded.code, pc.if_else(pc.equal(coded.texts, ""), "", whole))


def numbers(name: str, column: pa.Array) -> list[Part]:
    """Pieces of a column of integers that are mostly distinct; what a signed field cannot hold becomes the largest that it can."""
    if column.type == pa.uint64():
        column = pc.min_element_wise(column, pa.scalar(_SIGNED_MAX, pa.uint64()), skip_nulls=False)
    head, text = f',"{name}":', column.cast(pa.string())
    return [pc.binary_join_element_wise(head, text, "")] if column.null_count else [head, text]


def structures(name: str, column: pa.Array) -> Any:
    """Members of a column of lists, row by row: few flows have them."""
    spell = _extras if column.type == EXTRA else text_of
    return pa.array([f',"{name}":{spell(value)}' if value else None for value in column.to_pylist()], pa.string())


def words(names: Mapping[int, str]) -> Callable[[Any], str]:
    """A spelling by words; a number without one as it is."""
    return lambda value: json.dumps(names.get(value, str(value)))


def _extras(value: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({f"{each['pen']}.{each['id']}": each["value"].hex() for each in value})


def _dense(code: Ints) -> tuple[Ints, int]:
    encoded = pa.array(code).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)
