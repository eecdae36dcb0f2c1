import gzip
import hashlib
import io
import tracemalloc
from dataclasses import replace

import pytest
from archives import TWO, of_ids, of_packed, read, written
from hypothesis import given
from hypothesis import strategies as st
from publishing import manifest_of

from slates.archive import manifest_record, summarise
from slates.errors import ArchiveError
from slates.records import MAGIC, Record, RecordReader, RecordWriter
from slates.resp import command


def refusal(content: bytes) -> str:
    with pytest.raises(ArchiveError) as raised:
        summarise(io.BytesIO(content))
    return str(raised.value)


def with_record(place: int, record: Record) -> bytes:
    records = of_ids()
    records[place] = record
    return written(records)


@pytest.mark.parametrize("records", [of_ids(), of_packed()], ids=["ids", "packed"])
def test_what_was_written_is_read_and_counted(records: list[Record]) -> None:
    items, summary = read(written(records))
    assert [item.kind.encode() for item in items] == [record[0] for record in records]
    by_name = {(item.kind, item.name): item for item in items}
    assert by_name["user", "a:b"].fields == (
        {} if summary.manifest.codec == "packed" else dict(zip(records[5][2::2], records[5][3::2], strict=True))
    )
    assert by_name["post", "1"].fields == {b"text": b"one", b"topic": b"t"}
    assert summary.counts == {"popular": 1, "segment": 1, "similar": 2, "user": 2, "post": 2, "blocked": 1} | (
        {"posts": 1} if summary.manifest.codec == "packed" else {}
    )
    assert summary.manifest == manifest_of(
        7, users=2, slates=4, posts=2, state="complete", codec=summary.manifest.codec
    )


def test_the_same_records_make_the_same_bytes_and_the_digest_is_that_of_the_content() -> None:
    assert written(of_ids()) == written(of_ids())
    content = gzip.decompress(written(of_ids()))
    before, _, end = content.partition(b"*2\r\n$3\r\nend\r\n")
    assert end == b"$64\r\n" + hashlib.sha256(before).hexdigest().encode() + b"\r\n"
    assert read(written(of_ids()))[1].digest == hashlib.sha256(before).hexdigest()


def test_the_state_of_a_generation_is_not_in_its_file() -> None:
    live = manifest_of(7, state="live")
    assert manifest_record(live) == manifest_record(replace(live, state="superseded"))


@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=6), max_size=20))
def test_records_of_any_bytes_come_back(records: list[list[bytes]]) -> None:
    marked = [[b"r", *record] for record in records]
    assert list(RecordReader(io.BytesIO(written(marked)))) == marked


def test_a_record_larger_than_what_is_read_at_once_comes_back() -> None:
    records = [[b"r", bytes([number]) * (1 << 20)] for number in range(4)] + [[b"r", b""]]
    assert list(RecordReader(io.BytesIO(written(records)))) == records


@pytest.mark.parametrize("records", [of_ids(), of_packed()], ids=["ids", "packed"])
def test_a_file_that_is_cut_anywhere_is_refused(records: list[Record]) -> None:
    content = written(records)
    for length in range(len(content)):
        assert "cut short" in (said := refusal(content[:length])) or "is no file that" in said, length


@pytest.mark.parametrize("records", [of_ids(), of_packed()], ids=["ids", "packed"])
def test_a_content_that_is_cut_anywhere_is_refused(records: list[Record]) -> None:
    content = gzip.decompress(written(records))
    for length in range(len(content)):
        refusal(gzip.compress(content[:length], 1))


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_content_is_refused(place: int, bit: int) -> None:
    content = bytearray(gzip.decompress(written(of_ids())))
    content[place % len(content)] ^= 1 << bit
    refusal(gzip.compress(bytes(content), 1))


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_file_is_refused_or_changes_nothing(place: int, bit: int) -> None:
    whole = written(of_ids())
    content = bytearray(whole)
    content[place % len(content)] ^= 1 << bit
    try:
        summary = summarise(io.BytesIO(bytes(content)))
    except ArchiveError:
        return
    assert summary == summarise(io.BytesIO(whole))  # gzip's header holds a time and a system, which say nothing


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", gzip.compress(b"a diary"), gzip.compress(b"")])
def test_a_foreign_file_is_refused(content: bytes) -> None:
    assert refusal(content) == "this is no file that `hourfeed export` wrote"


def test_a_file_of_another_version_is_refused_by_name() -> None:
    content = gzip.decompress(written(of_ids())).replace(command(MAGIC, b"1"), command(MAGIC, b"2"))
    assert "the file is of version b'2' of the format, and this hourfeed reads b'1'" in refusal(gzip.compress(content))


def test_a_content_that_goes_on_after_its_end_is_refused() -> None:
    content = gzip.decompress(written(of_ids()))
    assert refusal(gzip.compress(content + command(b"user", b"d"))) == "the file goes on after its last record"
    assert refusal(written(of_ids()) + gzip.compress(command(b"x"))) == "the file goes on after its last record"


def test_a_bomb_is_refused_within_bounds() -> None:
    """A part of 60 MB is allowed; what is above that is refused from its length alone, and many parts by their sum."""
    giant = gzip.compress(command(MAGIC, b"1") + b"*2\r\n$4\r\nuser\r\n$999999999\r\n" + bytes(10_000_000))
    assert refusal(giant) == "the file is damaged: it says 999,999,999 where at most 67,108,864 can be"
    many = gzip.compress(command(MAGIC, b"1") + b"*99999\r\n" + b"$0\r\n\r\n" * 99_999)
    assert "99,999 where at most 32,768" in refusal(many)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"unpacks to more than 0\.003 GB; if that is right, raise --max-gb"):
        list(RecordReader(io.BytesIO(written([[b"r", bytes(1000)]] * 20_000)), most_bytes=3_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


def nested(depth: int) -> Record:
    record = of_ids()[0]
    record[record.index(b"gate") + 1] = b"[" * depth
    return record


def manifest_with(name: bytes, value: bytes) -> Record:
    record = of_ids()[0]
    record[record.index(name) + 1] = value
    return record


@pytest.mark.parametrize(
    ("place", "record", "said"),
    [
        (0, [b"popular", *TWO], "the manifest does not come first"),
        (0, [b"manifest", b"id"], "the manifest is no hash"),
        (0, nested(100_000), "the manifest cannot be read"),
        (0, manifest_with(b"gate", b'{"chosen": "x"}'), "the manifest cannot be right: gate"),
        (0, manifest_with(b"gate", b"7"), "the manifest cannot be right: gate"),
        (0, manifest_with(b"guards", b"[]"), "the manifest cannot be right: guards"),
        (0, manifest_with(b"guards", b'{"left": {"users": "x"}}'), "the manifest cannot be right: guards"),
        (0, manifest_with(b"guards", b'{"whole": [1]}'), "the manifest cannot be right: guards"),
        (0, manifest_with(b"guards", b'{"broken": [1]}'), "the manifest cannot be right: guards"),
        (0, manifest_with(b"seconds", b'{"read": NaN}'), "the manifest cannot be right: seconds"),
        (0, manifest_with(b"by_bucket", b'{"coverage": [1]}'), "the manifest cannot be right: by_bucket"),
        (0, manifest_with(b"id", b"../x:y"), "the manifest cannot be right: its id is no id of a generation"),
        (0, manifest_with(b"ranker", b"\x1b[2J"), "the manifest cannot be right: it holds what cannot be printed"),
        (0, manifest_with(b"top_n", b"999999"), "the manifest cannot be right: 2 buckets of 999999 posts"),
        (0, manifest_with(b"last_bucket", b"2921-12-20T15"), "buckets of 2 posts"),
        (0, manifest_with(b"users", b"-1"), "the manifest cannot be right: a count is out of bounds"),
        (0, manifest_with(b"users", b"9" * 5000), "the manifest cannot be read"),
        (0, manifest_with(b"codec", b"pickle"), "the manifest cannot be right: codec pickle"),
        (0, manifest_with(b"run", b"sometimes"), "the manifest cannot be right: run"),
        (0, manifest_with(b"users", b"1"), "the file holds 2 of user, and its manifest says 1"),
        (0, manifest_with(b"codec", b"packed"), "user 'a%3Ab' is not one value"),
        (1, [b"popular", *TWO[:2]], "popular '': its fields are not the buckets of the generation"),
        (1, [b"popular", *TWO, b"segment", b"s"], "popular '': its fields are not the buckets of the generation"),
        (1, [b"user", b"0", *TWO], "a record is not where it should be: segment 's'"),
        (2, [b"segment", b"a:b", *TWO], "'a:b' is no name for segment, as names are escaped"),
        (4, [b"similar", b"1", b""], "a record is not where it should be: similar '1'"),
        (4, [b"similar", b"2", b"1  2"], "similar '2': b'1  2' is not a slate"),
        (5, [b"user", b"a b", *TWO], "'a b' is no name for user"),
        (5, [b"user", b"\xff", *TWO], "'\\xff' is no name for user"),
        (5, [b"user"], "'' is no name for user"),
        (5, [b"user", b"a", b"2021122015", b"1 2 3", b"2021122016", b""], "user 'a': a slate of more than 2 posts"),
        (5, [b"user", b"a", b"2021122015", b"1\n2", b"2021122016", b""], "user 'a': b'1\\n2' is not a slate"),
        (5, [b"user", b"a", *TWO, b"segment", b"\xff"], "user 'a': b'\\xff' is not text"),
        (5, [b"user", b"a", b"2021122015"], "user 'a' is no hash"),
        (7, [b"post", b"1", b"\xff", b""], "post '1': b'\\xff' is not text"),
        (9, [b"blocked", b"2", b"x"], "blocked '2' has a value"),
        (9, [b"cookies", b"2"], "the file holds 'cookies', which this hourfeed does not know"),
    ],
)
def test_a_record_that_cannot_be_right_is_refused_with_the_reason(place: int, record: Record, said: str) -> None:
    assert said in refusal(with_record(place, record))


@pytest.mark.parametrize(
    ("place", "record", "said"),
    [
        (3, [b"posts", b"1 2 3"], "posts '': 3 different posts, not 2"),
        (3, [b"posts", b"1 1"], "posts '': 1 different posts, not 2"),
        (6, [b"user", b"b", bytes(7)], "of 7 bytes is no user's string"),
        (6, [b"user", b"b", bytes(8) + b"\xff\xfe"], "of 10 bytes is cut short, or counts beyond 2 posts"),
        (6, [b"user", b"b", b"\x07\x00" + bytes(8)], "counts beyond 2 posts"),
        (6, [b"user", b"b", bytes(10) + b"\xff"], "is no user's string"),
        (6, [b"user", b"b", *TWO], "user 'b' is not one value"),
    ],
)
def test_a_packed_record_that_cannot_be_right_is_refused(place: int, record: Record, said: str) -> None:
    records = of_packed()
    records[place] = record
    assert said in refusal(written(records))


def test_what_lacks_is_named() -> None:
    assert refusal(written([])) == "the file holds no manifest"
    assert refusal(written(of_ids()[:1])) == "the file holds no popular slates"
    assert "a list of posts is there, or lacks" in refusal(written(of_packed()[:2]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.binary(max_size=12)), min_size=1, max_size=4))
def test_whatever_is_changed_is_refused_or_read_whole(changes: list[tuple[int, int, bytes]]) -> None:
    records = of_ids()
    for at, part, value in changes:
        record = records[at]
        record[part % len(record)] = value
    try:
        items, summary = read(written(records))
    except ArchiveError as refused:
        error = str(refused)
    else:
        error, (again, _) = "", read(written(records))
        assert again == items
        assert summary.counts.total() == len(items) - 1
    assert error.isprintable()


def test_a_writer_leaves_its_file_open() -> None:
    file = io.BytesIO()
    RecordWriter(file).close()
    assert not file.closed


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        packed.write(b"*2\r\n$16\r\nhourfeed-archive\r\n$1\r\n1\r\n*32768\r\n")
        for _ in range(6):  # each part is one that may be
            packed.write(b"$60000000\r\n" + bytes(60_000_000) + b"\r\n")
    file.seek(0)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="a record goes on for more than 128 MiB"):
            list(RecordReader(file))
        assert tracemalloc.get_traced_memory()[1] < 1.5e9
    finally:
        tracemalloc.stop()


def test_ids_may_be_uuids() -> None:
    _, summary = read(written(of_ids(user_id_type="uuid", post_id_type="uuid")))
    assert (summary.manifest.user_id_type, summary.manifest.post_id_type) == ("uuid", "uuid")
