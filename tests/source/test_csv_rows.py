"""Any bytes at all, read as CSV: never a crash, and every line accounted for."""

import csv
import gzip
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from source import csv_lines
from source.chunk import Chunk
from source.csv_rows import CsvRows
from source.engine import open_engine
from source.errors import SourceError
from source.load import load_folder
from source.schema import SourceSchema

HEADER = b"timestamp,user_id,post_id,action\n"
PIECES = [
    b"2021-12-20 15:00:00,1,10,view",
    b"1",
    b"view",
    b",",
    b'"',
    b'""',
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff",
    b" ",
]
csv_bytes = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))


@pytest.fixture(params=[7, 1 << 16], ids=["small_blocks", "one_block"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_lines, "_BLOCK_BYTES", request.param)


def read(content: bytes, record_lines: int = 1, rows: int = 3) -> Iterator[Chunk]:
    with gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content, compresslevel=1))) as stream:
        yield from CsvRows(stream, "events.csv", record_lines, lambda: 0).chunks(rows)


def physical_lines(content: bytes) -> list[bytes]:
    return [line for line in content.split(b"\n") if line.strip(b"\r")]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=csv_bytes)
@pytest.mark.usefixtures("_blocks")
def test_where_records_are_lines_each_line_is_a_row_or_a_bad_one_once(body: bytes) -> None:
    lines = (HEADER + body).split(b"\n")
    expected = [at for at, line in enumerate(lines, 1) if line.strip(b"\r")][1:]
    found: list[int] = []
    for chunk in read(HEADER + body):
        found += sorted(chunk.lines + [row.line for row in chunk.bad])
        for name, column in chunk.columns.items():
            assert len(column) == len(chunk.lines), name
    assert found == expected


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=csv_bytes)
@pytest.mark.usefixtures("_blocks")
def test_where_records_span_lines_their_lines_follow_each_other(body: bytes) -> None:
    lines = (HEADER + body).split(b"\n")
    taken: set[int] = set()
    for chunk in read(HEADER + body, record_lines=50):
        raws = {line: chunk.raw(at) for at, line in enumerate(chunk.lines)} | {row.line: row.row for row in chunk.bad}
        for line, raw in raws.items():
            own = set(range(line, line + raw.count("\n") + 1))
            assert not own & taken
            taken |= own
    left = {at for at, line in enumerate(lines, 1) if line.strip(b"\r")} - taken - {1}
    # A record's raw text is shown without the empty lines at its end.
    assert all(not lines[at - 1].strip(b"\r") for at in left)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), min_size=1), min_size=3, max_size=3)
    )
)
@pytest.mark.usefixtures("_blocks")
def test_what_a_csv_writer_wrote_is_read_back(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    found = []
    for chunk in read(text.getvalue().encode()):
        assert not chunk.bad
        found += [list(row) for row in zip(*(column.to_pylist() for column in chunk.columns.values()), strict=True)]
    assert found == rows


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=st.sampled_from([b"", HEADER]), body=csv_bytes)
def test_random_bytes_as_a_file_of_events_are_refused_or_counted(tmp_path: Path, header: bytes, body: bytes) -> None:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    (folder / "events.csv").write_bytes(header + body)
    engine = open_engine("sqlite://", tmp_path)
    try:
        report = load_folder(folder, engine, SourceSchema(), ["view"], tmp_path / "quarantine").files[0]
    except SourceError:
        assert not header
    else:
        assert report.rows == len(physical_lines(header + body)) - 1
        assert report.rows == report.new + report.known + sum(report.quarantined.values())
    finally:
        engine.dispose()


@pytest.mark.parametrize("empty", [b"\n", b"\r\n"])
def test_millions_of_empty_lines_cost_little_and_are_counted(empty: bytes) -> None:
    row = b"2021-12-20 15:00:00,1,10,view\n"
    content = HEADER + empty * 3_000_000 + row + empty * 70_000 + row.replace(b"1,10", b"1,10,9") + empty * 3
    begun = time.process_time()
    chunks = list(read(content))
    assert time.process_time() - begun < 6  # read line by line by csv.reader they took 20
    assert [line for chunk in chunks for line in chunk.lines] == [3_000_002]
    assert [row.line for chunk in chunks for row in chunk.bad] == [3_070_003]
