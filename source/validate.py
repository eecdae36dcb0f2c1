"""Decides what each column of a file should hold, and parts its rows into valid ones and bad ones."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from source import parse
from source.chunk import BadRow, Chunk
from source.naming import missing_column
from source.schema import SourceSchema
from source.tables import INTEGER, KEYS, KNOWN, NUMBER, TEXT, ColumnForm, Kind, column_names

ID_CHARACTERS = 200
"""A string id longer than this is bad."""
IDS: dict[Kind, tuple[str, ...]] = {"users": ("user_id",), "posts": ("post_id",), "events": ("user_id", "post_id")}
_WORDS = {
    "integer": "is not a whole number of {bits} bits",
    "number": "is not a number",
    "time": "is not a time of the years 1970 to 2200",
    "boolean": "is not true or false",
    "uuid": "is not a UUID",
    "text": "is longer than {max_length} characters",
}
_FURTHER = re.compile(r"[^\W\d][\w$]*")
_FURTHER_BYTES = 63  # Postgres cuts longer names, and two could become one
_NULLABLE_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def columns_in(header: Collection[str], file_name: str, schema: SourceSchema, kind: Kind) -> dict[str, str]:
    """Return the header's name of each column that is loaded, by canonical name; raise SourceError when one lacks.

    A column goes by the name that hourfeed.toml gives it, or by its canonical one. Further columns of users and
    posts are loaded under their own names, where these can be names of columns.
    """
    names = column_names(schema, kind)
    found = {
        canonical: name if name in header else canonical
        for canonical, name in names.items()
        if name in header or canonical in header
    }
    for canonical in KEYS[kind]:
        if canonical not in found:
            raise missing_column(file_name, kind, canonical, names, header)
    if kind != "events":
        taken = {*names, *names.values()}
        found.update({name: name for name in header if name not in taken and _can_be_a_column(name)})
    return found


def _can_be_a_column(name: str) -> bool:
    return bool(_FURTHER.fullmatch(name)) and len(name.encode()) <= _FURTHER_BYTES


@dataclass
class Validator:
    """Checks the chunks of one file.

    `columns` is what `columns_in` returned. `forms` holds the form of columns by canonical name, as far as the
    database or the ids decide it; that of the others is decided by the first chunk with a value in it.
    """

    kind: Kind
    columns: Mapping[str, str]
    forms: dict[str, ColumnForm]
    actions: Collection[str]

    def part(self, chunk: Chunk) -> tuple[pd.DataFrame, list[BadRow]]:
        """Return the valid rows by canonical name, typed, and the bad ones in the order of the file."""
        reasons = np.full(len(chunk.lines), "", dtype=object)
        arrays = {}
        for name in sorted(self.columns, key=lambda name: name not in KEYS[self.kind]):
            texts = chunk.columns[self.columns[name]]
            form = self._form(name, texts)
            if form is not None:
                arrays[name], bad, words = self._checked(name, texts, form)
                if bad.any():
                    reasons[bad & (reasons == "")] = f"{self.columns[name]} {words}"
                self._mark_empty(name, texts, form, reasons)
        is_bad = reasons != ""
        table = pa.table(arrays)
        if is_bad.any():
            table = table.filter(pa.array(~is_bad))
        bad_rows = [BadRow(chunk.lines[at], reasons[at], chunk.raw(at)) for at in np.flatnonzero(is_bad).tolist()]
        return table.to_pandas(types_mapper=_NULLABLE_TYPES.get), sorted(chunk.bad + bad_rows)

    def _form(self, name: str, texts: Any) -> ColumnForm | None:
        """Return the column's form; None while there is no value to tell it by."""
        if name not in self.forms:
            form = KNOWN[self.kind].get(name)
            if form is None or (form.form == "integer" and self.kind == "users"):
                form = _form_by_values(texts, form)
            if form is None:
                return None
            self.forms[name] = form
        return self.forms[name]

    def _checked(self, name: str, texts: Any, form: ColumnForm) -> tuple[Any, Any, str]:
        """Return the column's values, where they are bad, and in which words."""
        is_id = name in IDS[self.kind] or name == "author_id"
        if is_id:
            form = replace(form, max_length=min(form.max_length or ID_CHARACTERS, ID_CHARACTERS))
        if is_id or form.form != "text" or name == "action":
            texts = _stripped(texts)
        if form.form == "integer" and not is_id and parse.is_text(texts):
            texts = parse.without_zero_fraction(texts)
        values = _parsed(texts, form)
        words = _WORDS.get(form.form, "").format(bits=form.bits, max_length=form.max_length)
        if name == "action":
            values = parse.where(pc.is_in(values, value_set=pa.array(list(self.actions), pa.string())), values)
            words = f"is unknown; known are {', '.join(self.actions)}: [actions] in hourfeed.toml"
        if name == "target" and form.form == "integer":
            values = parse.where(pc.is_in(values, value_set=pa.array([0, 1], pa.int64())), values)
            words = "is not 0 or 1"
        return values, parse.is_null(values) & ~parse.is_null(texts), words

    def _mark_empty(self, name: str, texts: Any, form: ColumnForm, reasons: Any) -> None:
        if name in KEYS[self.kind] or not form.nullable:
            empty = parse.is_null(_stripped(texts))
            if empty.any():
                reasons[empty & (reasons == "")] = f"{self.columns[name]} is empty"


def _stripped(texts: Any) -> Any:
    if not parse.is_text(texts):
        return texts
    stripped = pc.utf8_trim_whitespace(texts)
    return parse.where(pc.not_equal(stripped, ""), stripped)


def _parsed(values: Any, form: ColumnForm) -> Any:
    if form.form == "integer" and pa.types.is_integer(values.type):
        return parse.of_bits(values.cast(pa.int64()), form.bits)
    if form.form == "time" and pa.types.is_timestamp(values.type):
        return parse.of_years(values)
    texts = parse.as_text(values)
    match form.form:
        case "integer":
            return parse.integers(texts, form.bits)
        case "number":
            return parse.numbers(texts)
        case "time":
            return parse.times(texts)
        case "boolean":
            return parse.booleans(texts)
        case "uuid":
            return parse.uuids(texts)
    return parse.short_texts(texts, form.max_length)


def _form_by_values(texts: Any, known: ColumnForm | None) -> ColumnForm | None:
    """Return whole numbers or numbers when all values are such, else text; None when there is no value.

    For a column whose known form is whole numbers most values decide: one "old" among the ages is a bad row, but
    genders may all be words.
    """
    values = _stripped(parse.as_text(texts)).drop_null()
    if not len(values):
        return None
    if known is not None:
        whole = parse.integers(parse.without_zero_fraction(values))
        return known if 2 * whole.null_count <= len(values) else TEXT
    if not parse.integers(values).null_count:
        return INTEGER
    return TEXT if parse.numbers(values, plain=True).null_count else NUMBER


def ids_are_integers(samples: Collection[Any]) -> bool:
    """Tell whether most of the ids in the arrays are 64-bit integers; no ids at all are taken as such."""
    ids = [_stripped(parse.as_text(texts)).drop_null() for texts in samples]
    strings = sum(int(parse.integers(texts).null_count) for texts in ids)
    return 2 * strings < max(sum(map(len, ids)), 1)
