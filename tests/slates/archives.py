"""Archives written out by hand, for the tests of what reads them."""

import io
from collections.abc import Sequence
from typing import Any

from publishing import manifest_of

from slates.archive import Item, Summary, manifest_record, read_archive
from slates.packed import Layout
from slates.records import MOST_BYTES, Record, RecordWriter

TWO = [b"2021122015", b"1 2", b"2021122016", b"2"]
"""The two slates of a user."""


def of_ids(**changes: Any) -> list[Record]:
    """Return the records of a small generation of the codec `ids`."""
    manifest = manifest_of(7, **{"users": 2, "slates": 4, "posts": 2, **changes})
    return [
        manifest_record(manifest),
        [b"popular", *TWO],
        [b"segment", b"s", *TWO],
        [b"similar", b"1", b"2"],
        [b"similar", b"2", b""],
        [b"user", b"a%3Ab", *TWO, b"acted", b"1", b"segment", b"s"],
        [b"user", b"c", b"2021122015", b"", b"2021122016", b"1"],
        [b"post", b"1", b"text", b"one", b"topic", b"t"],
        [b"post", b"2", b"text", b"", b"topic", b""],
        [b"blocked", b"2"],
    ]


def of_packed() -> list[Record]:
    """Return the same, by the codec `packed`."""
    layout = Layout(2, 2, 2)
    records = of_ids(codec="packed")
    records[5] = [b"user", b"a%3Ab", layout.pack([[0, 1], [1]], [0], "s")]
    records[6] = [b"user", b"c", layout.pack([[], [0]], [], "")]
    records.insert(3, [b"posts", b"1 2"])
    return records


def written(records: Sequence[Record]) -> bytes:
    file = io.BytesIO()
    writer = RecordWriter(file)
    for record in records:
        writer.write(record)
    writer.close()
    return file.getvalue()


def read(content: bytes, most_bytes: int = MOST_BYTES) -> tuple[list[Item], Summary]:
    """Return what an archive holds, and what that is in all."""
    items: list[Item] = []

    def collected() -> Any:
        summary = yield from read_archive(io.BytesIO(content), most_bytes)
        return summary

    found = collected()
    while True:
        try:
            items.append(next(found))
        except StopIteration as end:
            return items, end.value
