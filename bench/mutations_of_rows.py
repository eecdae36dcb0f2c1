"""Damage to CSV and Parquet by somebody who knows their form."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.mutations import NASTY_TEXTS, Random, damage_bytes, pick


def damage_csv(data: bytes, random: Random) -> bytes:
    """Damage fields, rows, the header or the encoding; else, or besides, bytes."""
    lines = [line.split(",") for line in data.decode().split("\n") if line]
    for _ in range(int(random.integers(0, 6))):
        pick(random, _CSV_DAMAGES)(lines, random)
    text = "\n".join(",".join(fields) for fields in lines) + "\n"
    encoding = str(pick(random, ["utf-8"] * 9 + ["utf-16", "utf-32", "latin-1", "utf-8-sig", "utf-7"]))
    content = text.encode(encoding, "replace")
    return damage_bytes(content, random) if random.random() < 0.5 else content


def _any(lines: list[list[str]], random: Random, begin: int = 1) -> list[str]:
    return lines[int(random.integers(min(begin, len(lines) - 1), len(lines)))] or lines[0]


def _csv_field(lines: list[list[str]], random: Random) -> None:
    row = _any(lines, random)
    row[int(random.integers(len(row)))] = pick(random, NASTY_TEXTS)


def _csv_column(lines: list[list[str]], random: Random) -> None:
    at, text = int(random.integers(len(lines[0]))), pick(random, NASTY_TEXTS)
    for row in lines[1:]:
        if at < len(row):
            row[at] = text


def _csv_swap(lines: list[list[str]], random: Random) -> None:
    row = _any(lines, random)
    random.shuffle(row)


def _csv_width(lines: list[list[str]], random: Random) -> None:
    row = _any(lines, random, 0)
    if random.random() < 0.5:
        row.extend(["more"] * int(random.integers(1, 3_000)))
    elif len(row) > 1:
        row.pop()


def _csv_header(lines: list[list[str]], random: Random) -> None:
    head = lines[0]
    at = int(random.integers(len(head)))
    head[at] = str(pick(random, [*NASTY_TEXTS, *head, 'x"; DROP TABLE user_data; --', "user_id", "n" * 64]))


def _csv_quote(lines: list[list[str]], random: Random) -> None:
    row = _any(lines, random)
    at = int(random.integers(len(row)))
    row[at] = str(pick(random, ['"{}', '{}"', '"{}"x', '"{}\n\n{}"', '""{}""'])).replace("{}", row[at])


def _csv_huge(lines: list[list[str]], random: Random) -> None:
    row = _any(lines, random)
    row[int(random.integers(len(row)))] = "y" * int(pick(random, [70_000, 200_000, 1_100_000]))


_CSV_DAMAGES: tuple[Callable[[list[list[str]], Random], None], ...] = (
    _csv_field,
    _csv_field,
    _csv_field,
    _csv_column,
    _csv_swap,
    _csv_width,
    _csv_header,
    _csv_quote,
    _csv_huge,
)


def damage_parquet(data: bytes, random: Random) -> bytes:
    """Put columns of other types or extreme values in, as another writer might; else, or besides, damage bytes."""
    if random.random() < 0.5:
        return damage_bytes(data, random)
    found = pq.read_table(io.BytesIO(data))
    columns = dict(zip(found.column_names, found.columns, strict=True))
    for _ in range(int(random.integers(1, 3))):
        name = str(pick(random, list(columns)))
        makers = (_odd_array, _odd_array, _nulls)
        columns[name] = pick(random, makers)(len(found), random)
        if random.random() < 0.1 and len(columns) > 1:
            del columns[name]
    out = io.BytesIO()
    codec = str(pick(random, ["none", "snappy", "gzip", "zstd", "lz4"]))
    pq.write_table(pa.table(columns), out, compression=codec, row_group_size=int(pick(random, [1, 7, 10_000])))
    content = out.getvalue()
    return damage_bytes(content, random) if random.random() < 0.3 else content


def _nulls(size: int, random: Random) -> Any:  # noqa: ARG001 - like the other makers
    return pa.nulls(size)


def _odd_array(size: int, random: Random) -> Any:
    """Return a column of a type and of values that the product does not expect there."""
    whole = random.integers(-(2**63), 2**63 - 1, size, dtype=np.int64)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: pa.array(whole),
        lambda: pa.array(whole.view(np.uint64)),
        lambda: pa.array(whole).cast(pa.timestamp("us")),
        lambda: pa.array(whole).cast(pa.timestamp("ns")),
        lambda: pa.array(whole).cast(pa.timestamp("ms", "UTC")),
        lambda: pa.array(whole).cast(pa.duration("us")),
        lambda: pa.array(whole.view(np.float64)),
        lambda: pa.array((whole % 65_536).astype(np.uint16).view(np.float16)),
        lambda: pa.array((whole % 2**31).astype(np.int32)).cast(pa.date32()),
        lambda: pa.array((whole % 86_400_000_000).astype(np.int64)).cast(pa.time64("us")),
        lambda: pa.array(whole % 2 == 0),
        lambda: pa.array([random.bytes(int(random.integers(0, 40))) for _ in range(size)], pa.binary()),
        lambda: pa.array([str(pick(random, NASTY_TEXTS)) for _ in range(size)]),
        lambda: pa.array([str(pick(random, NASTY_TEXTS)) for _ in range(size)]).dictionary_encode(),
        lambda: pa.array([[1, 2]] * size),
        lambda: pa.array([{"a": 1}] * size),
        lambda: pa.array(["z" * 1_200_000] + ["z"] * (size - 1))[:size],
        lambda: pa.array([None if value % 2 else int(value) for value in whole.tolist()]).cast(pa.decimal128(38, 4)),
        lambda: _broken_texts(size, random),
    )
    return pick(random, kinds)()


def _broken_texts(size: int, random: Random) -> Any:
    """Return strings whose bytes are no UTF-8, which a careless writer leaves."""
    made = pa.array([random.bytes(4) for _ in range(size)], pa.binary())
    return pa.StringArray.from_buffers(size, made.buffers()[1], made.buffers()[2])
