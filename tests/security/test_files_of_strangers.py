"""Files that ask for too much, or say what they should not: refused with a reason, at little cost."""

import gzip
import io
import json
import resource
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.arrays import arrays_from_bytes, arrays_to_bytes
from batch.errors import BatchError
from batch.features.matrix import Column
from batch.features.vocabulary import Vocabularies
from batch.model import Model, load_model, save_model
from batch.model_checks import folder_of
from cli.memory import bounded_memory
from source.engine import open_engine
from source.errors import SourceError
from source.load import LoadReport, load_folder
from source.schema import SourceSchema

EVENTS = b"timestamp,user_id,post_id,action\n"


def load(folder: Path) -> LoadReport:
    engine = open_engine("sqlite://", folder)
    try:
        return load_folder(folder / "files", engine, SourceSchema(), ("like",), folder / "quarantine")
    finally:
        engine.dispose()


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / name).write_bytes(content)


def test_a_gzip_that_unpacks_to_a_thousand_times_its_size_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as out:
        out.write(EVENTS)
        for _ in range(300):
            out.write(b"0" * (1 << 20))
    put(tmp_path, "events.csv.gz", packed.getvalue())
    assert len(packed.getvalue()) < 400_000
    with pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        load(tmp_path)


def test_a_short_file_may_be_as_empty_as_it_likes(tmp_path: Path) -> None:
    put(tmp_path, "events.csv.gz", gzip.compress(EVENTS + b"2024-01-01,1,1,like\n" * 200_000))  # 4 MB, 1:300
    assert load(tmp_path).files[0].rows == 200_000


def test_more_columns_than_a_table_can_have_are_refused_at_once(tmp_path: Path) -> None:
    put(tmp_path, "users.csv", b"user_id," + b",".join(b"c%d" % place for place in range(100_000)) + b"\n")
    begun = time.process_time()
    with pytest.raises(SourceError, match="has 100,001 columns, more than the 1,600 of a database table"):
        load(tmp_path)
    assert time.process_time() - begun < 5


def test_a_name_of_a_million_characters_is_not_repeated_in_full(tmp_path: Path) -> None:
    put(tmp_path, "events.csv", b"timestamp,user_id,post_id," + b"a" * 1_000_000 + b"\n")
    with pytest.raises(SourceError, match="has no column action; it has timestamp") as error:
        load(tmp_path)
    assert len(str(error.value)) < 1_000


def test_a_text_of_a_parquet_file_that_is_longer_than_a_record_of_csv_may_be_is_set_aside(tmp_path: Path) -> None:
    table = pa.table({"post_id": [1, 2], "text": ["short", "x" * (1 << 20) + "y"]})
    (tmp_path / "files").mkdir()
    pq.write_table(table, tmp_path / "files/posts.parquet")
    assert load(tmp_path).files[0].quarantined == {"longer than 1 MiB": 1}


def test_times_that_python_has_not_are_set_aside_as_numbers(tmp_path: Path) -> None:
    late = pa.array([2**62, 0]).cast(pa.timestamp("us"))
    table = pa.table({"timestamp": late, "user_id": [1, 1], "post_id": [1, 1], "action": ["like", "like"]})
    (tmp_path / "files").mkdir()
    pq.write_table(table, tmp_path / "files/events.parquet")
    (file,) = load(tmp_path).files
    assert file.quarantined == {"timestamp is not a time of the years 1970 to 2200": 1}
    assert file.quarantine_path is not None
    assert str(2**62) in file.quarantine_path.read_text()


def test_a_parquet_file_that_wants_more_memory_than_loading_may_take_is_refused(tmp_path: Path) -> None:
    # A few kilobytes: every row is the same entry of a dictionary.
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["x" * 900_000])
    table = pa.table({"post_id": range(50_000), "text": one})
    (tmp_path / "files").mkdir()
    pq.write_table(table, tmp_path / "files/posts.parquet", compression="zstd")
    assert (tmp_path / "files/posts.parquet").stat().st_size < 1_000_000
    with bounded_memory(2 << 30), pytest.raises(SourceError, match=r"posts\.parquet is damaged or not"):
        load(tmp_path)


def test_memory_is_bounded_within_the_block_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with bounded_memory(1 << 28):
        with pytest.raises(MemoryError):
            bytearray(1 << 30)
        assert len(bytearray(1 << 20)) == 1 << 20
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(1 << 30)) == 1 << 30


def npy(header: str, values: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def archive(how: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as written:
        for name, content in members.items():
            written.writestr(f"{name}.npy", content)
    return out.getvalue()


def header(shape: str, dtype: str = "<f4", order: str = "False") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


def test_arrays_read_back_as_they_were() -> None:
    arrays = {
        "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 4), dtype=np.float32),
        "one": np.array(3.5),
        "line": np.arange(3.0),
    }
    read = arrays_from_bytes(arrays_to_bytes(arrays))
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].flags.writeable
    assert arrays_to_bytes(read) == arrays_to_bytes(arrays)


@pytest.mark.parametrize(
    "content",
    [
        archive(a=npy(header("(1000000000000,)"), b"\0" * 8)),
        archive(a=npy(header("(2,)"), b"\0" * 12)),
        archive(a=npy(header("(1,)", "|O"), b"\x80\x04N.    ")),
        archive(a=npy(header("(1,)", "<i8"), b"\0" * 8)),
        archive(a=npy("(" * 5_000, b"")),
        archive(a=npy("__import__('os').abort()\n", b"")),
        archive(a=npy(header("(1,)"), struct.pack("<f", float("nan")))),
        archive(a=npy(header("(1,)"), struct.pack("<f", 1e30))),
        archive(a=b"cos\nsystem\n(S'false'\ntR."),
        archive(zipfile.ZIP_DEFLATED, a=npy(header("(1000000,)"), b"\0" * 4_000_000)),
        archive(a=npy(header("(1,)"), b"\0" * 4))[:-30],
        b"",
    ],
    ids=lambda content: repr(content[30:90]),
)
def test_arrays_that_are_not_what_they_say_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        arrays_from_bytes(content)


def test_members_that_share_their_bytes_are_refused() -> None:
    content = archive(a=npy(header("(1000,)"), b"\0" * 4_000))
    begin = content.index(b"PK\x01\x02")
    entry, end = content[begin : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    twice = [entry.replace(b"a.npy", b"%c.npy" % name) for name in b"ab"]
    counts = struct.pack("<HHI", 2, 2, 2 * len(entry))
    shared = content[:begin] + b"".join(twice) + end[:8] + counts + end[16:]
    with pytest.raises(ValueError, match=r"more than its own size|no archive"):
        arrays_from_bytes(shared)


def saved(folder: Path, **changes: Any) -> Path:
    """Save a small model, under a name that is no digest, with changes to its model.json."""
    model = Model("num_tree_per_iteration=1\n", (Column("C", "age_h"),), Vocabularies({}), None, 3600, 1, 2)
    path = save_model(model, folder).rename(folder / "from elsewhere")
    about = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps({**about, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": [["A", "age_h"]]}, "does not compute: age_h"),
        ({"columns": [["C", ["age_h"]]]}, "is no column"),
        ({"columns": [["D", "age_h"]]}, "is no column"),
        ({"base": "age_h"}, "does not compute: age_h"),
        ({"base": {"a": 1}}, "does not compute"),
        ({"vocabularies": {"topic": ["t"] * 64}}, "vocabulary of 'topic'"),
        ({"vocabularies": {"land": [7]}}, "vocabulary of 'land'"),
        ({"trained_as_of_s": 1e300}, "trained_as_of_s is no whole number"),
        ({"trained_as_of_s": True}, "trained_as_of_s is no whole number"),
        ({"rows": -1}, "rows is no whole number"),
        ({"text": {"kind": "embedded", "name": "a/b", "pooling": "mean"}}, "is not a model"),
    ],
)
def test_a_model_that_says_what_none_says_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BatchError, match=reason):
        load_model(saved(tmp_path, **changes))


def test_trees_that_split_by_a_column_that_the_model_has_not_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    tree = "num_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold=0.5\ndecision_type=2\nleft_child=-1\nright_child=-2\n"
    (path / "trees.txt").write_text(f"tree\nnum_tree_per_iteration=1\n\nTree=0\n{tree}leaf_value=0 1\n")
    with pytest.raises(BatchError, match="tree 0 splits by column 1, the model has 1"):
        load_model(path)


def test_a_file_of_a_model_that_is_too_large_or_none_is_not_read(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with (path / "trees.txt").open("wb") as sparse:
        sparse.truncate(300 << 20)
    with pytest.raises(BatchError, match=r"trees\.txt is no file of up to 256 MiB"):
        load_model(path)
    (path / "trees.txt").unlink()
    (path / "trees.txt").mkdir()
    with pytest.raises(BatchError, match=r"trees\.txt is no file"):
        load_model(path)


@pytest.mark.parametrize("digest", ["../../elsewhere", "/etc", "", ".", "0123456789abcdeF", "0123456789abcdef/.."])
def test_what_redis_calls_a_digest_leads_nowhere_else(tmp_path: Path, digest: str) -> None:
    with pytest.raises(BatchError, match="is not the digest of a model"):
        folder_of(tmp_path, digest)
    assert folder_of(tmp_path, "0123456789abcdef") == tmp_path / "0123456789abcdef"
