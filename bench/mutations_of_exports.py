"""Damage to an exported generation, also by somebody who writes its digest anew."""

import gzip
import io
import json

from bench.mutations import NASTY_TEXTS, Random, damage_bytes, pick
from bench.mutations_of_models import NASTY_VALUES
from slates.records import Record, RecordReader, RecordWriter


def damage_export(data: bytes, random: Random) -> bytes:
    """Damage the file, or what is packed in it, or its records, whose digest then is right."""
    choice = random.random()
    if choice < 0.2:
        return damage_bytes(data, random)
    if choice < 0.4:
        return gzip.compress(damage_bytes(gzip.decompress(data), random), 1)
    records = list(RecordReader(io.BytesIO(data)))
    for _ in range(int(random.integers(1, 4))):
        _damage_records(records, random)
    out = io.BytesIO()
    writer = RecordWriter(out)
    for record in records:
        if record:
            writer.write(record)
    writer.close()
    return out.getvalue()


def _damage_records(records: list[Record], random: Random) -> None:
    at = 0 if random.random() < 0.4 else int(random.integers(len(records)))  # the manifest says most
    record = records[at]
    choice = int(random.integers(10))
    if choice == 0:
        del records[at]
    elif choice == 1:
        records.insert(int(random.integers(len(records) + 1)), list(record))
    elif choice == 2:
        other = int(random.integers(len(records)))
        records[at], records[other] = records[other], records[at]
    elif choice == 3:
        del record[int(random.integers(len(record)))]
    elif choice == 4:
        record.insert(int(random.integers(len(record) + 1)), pick(random, record))
    else:
        place = int(random.integers(len(record)))
        record[place] = _other(record[place], random)


def _other(part: bytes, random: Random) -> bytes:
    choice = int(random.integers(5))
    if choice == 0:
        return pick(random, NASTY_TEXTS).encode()
    if choice == 1:
        return json.dumps(pick(random, NASTY_VALUES)).encode()
    if choice == 2:
        return b"%d" % pick(random, (0, 1, -1, 2, 7, 1_000, 2**31, 2**53, 2**64))
    if choice == 3:
        return random.bytes(int(random.integers(0, 60)))
    return damage_bytes(part, random)
