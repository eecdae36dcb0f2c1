"""Folders of files loaded into both databases: what is loaded, what is set aside, what is refused."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, inspect, text

from source.engine import open_engine
from source.errors import SourceError
from source.files import size_bytes
from source.load import FileReport, LoadReport, load_folder
from source.schema import EventNames, SourceSchema

ACTIONS = ("view", "like")
UNKNOWN_ACTION = "action is unknown; known are view, like: [actions] in hourfeed.toml"
HEADER = b"timestamp,user_id,post_id,action,target\n"


@pytest.fixture
def lite(sqlite_url: str, tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(sqlite_url, tmp_path)
    yield opened
    opened.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


def load(folder: Path, engine: Engine, schema: SourceSchema | None = None) -> LoadReport:
    return load_folder(folder, engine, schema or SourceSchema(), ACTIONS, folder.parent / "quarantine")


def load_events(folder: Path, engine: Engine, lines: bytes, name: str = "events.csv") -> FileReport:
    (folder / name).write_bytes(lines)
    return load(folder, engine).files[-1]


def rows_of(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def set_aside(report: FileReport) -> list[tuple[int, str, str]]:
    assert report.quarantine_path is not None
    with report.quarantine_path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["file"] for row in rows} == {report.path.name}
    assert Counter(row["reason"] for row in rows) == report.quarantined
    return [(int(row["line"]), row["reason"], row["row"]) for row in rows]


BAD_EVENTS = [
    (b"yesterday,1,10,view,0", "timestamp is not a time of the years 1970 to 2200"),
    (b"2021-02-30 15:00:00,1,10,view,0", "timestamp is not a time of the years 1970 to 2200"),
    (b"1969-12-31T23:59:59Z,1,10,view,0", "timestamp is not a time of the years 1970 to 2200"),
    (b"2201-01-01T00:00:00Z,1,10,view,0", "timestamp is not a time of the years 1970 to 2200"),
    (b"1640012400,1,10,view,0", "timestamp is not a time of the years 1970 to 2200"),
    (b",1,10,view,0", "timestamp is empty"),
    (b"2021-12-20 15:00:00,,10,view,0", "user_id is empty"),
    (b"2021-12-20 15:00:00,1, ,view,0", "post_id is empty"),
    (b"2021-12-20 15:00:00,1,10,,0", "action is empty"),
    (b"2021-12-20 15:00:00,1,10,stare,0", UNKNOWN_ACTION),
    (b"2021-12-20 15:00:00,one,10,view,0", "user_id is not a whole number of 64 bits"),
    (b"2021-12-20 15:00:00,+5,10,view,0", "user_id is not a whole number of 64 bits"),
    (b"2021-12-20 15:00:00,5.0,10,view,0", "user_id is not a whole number of 64 bits"),
    (b"2021-12-20 15:00:00,007,10,view,0", "user_id is not a whole number of 64 bits"),
    (b"2021-12-20 15:00:00,9223372036854775808,10,view,0", "user_id is not a whole number of 64 bits"),
    (b"2021-12-20 15:00:00,1,10,view,2", "target is not 0 or 1"),
    (b"2021-12-20 15:00:00,1,10,view,yes", "target is not 0 or 1"),
    (b"2021-12-20 15:00:00,1,10,view", "not 5 fields"),
    (b"2021-12-20 15:00:00,1,10,view,0,0", "not 5 fields"),
    (b"2021-12-20 15:00:00,1,10,vi\xffew,0", "bytes that are not UTF-8"),
    (b"2021-12-20 15:00:00,1,10,vi\x00ew,0", "a NUL character"),
    (b'2021-12-20 15:00:00,1,10,"view,0', "a quote that is not closed"),
    (b'2021-12-20 15:00:00,1,10,"vi"ew,0', "text after a closing quote"),
    (b"2021-12-20 15:00:00,1\r,10,view,0", "a carriage return within the line"),
    (b"2021-12-20 15:00:00,1,10," + b"v" * (1 << 20) + b",0", "longer than 1 MiB"),
]


def test_each_kind_of_bad_event_is_set_aside_with_its_line_and_the_rest_loads(folder: Path, engine: Engine) -> None:
    good = b"2021-12-20 15:00:%02d,1,10,view,\n"
    lines = HEADER + b"".join(good % at + row + b"\n" for at, (row, _) in enumerate(BAD_EVENTS)) + good % 59
    report = load_events(folder, engine, lines)
    assert (report.rows, report.new) == (2 * len(BAD_EVENTS) + 1, len(BAD_EVENTS) + 1)
    found = set_aside(report)
    # The header is line 1, so that the first bad row is in line 3.
    assert [entry[:2] for entry in found] == [(3 + 2 * at, reason) for at, (_, reason) in enumerate(BAD_EVENTS)]
    assert [row for _, _, row in found[:-1]] == [
        row.decode(errors="backslashreplace").replace("\0", "\\x00") for row, _ in BAD_EVENTS[:-1]
    ]
    assert found[-1][2] == BAD_EVENTS[-1][0][:100_000].decode() + "…"
    assert rows_of(engine, "SELECT count(*) FROM feed_data") == [(len(BAD_EVENTS) + 1,)]


def test_times_of_all_allowed_forms_become_utc(folder: Path, engine: Engine) -> None:
    forms = [
        b"2021-12-20T15:00:01Z",
        b"2021-12-20 15:00:02",
        b"2021-12-20T18:00:03+03:00",
        b"2021-12-20 10:30:04-0430",
        b"2021-12-21T00:00:05.000000+09",
        b"2021-12-20T15:00:06.250Z",
        b"2021-12-20T15:00",
        b" 2021-12-20 15:00:07 ",
    ]
    lines = HEADER + b"".join(b"%s,1,10,view,\n" % form for form in forms)
    assert load_events(folder, engine, lines).quarantined == {}
    found = rows_of(engine, "SELECT timestamp FROM feed_data ORDER BY timestamp")
    moments = ["00", "01", "02", "03", "04", "05", "06.25", "07"]
    assert [pd.Timestamp(row[0]) for row in found] == [pd.Timestamp(f"2021-12-20 15:00:{end}") for end in moments]


def test_loading_twice_doubles_nothing_and_writes_the_quarantine_afresh(folder: Path, engine: Engine) -> None:
    (folder / "users.csv").write_text("user_id,age\n1,30\n2,old\n3,\n")
    (folder / "posts.csv").write_text("post_id,text\n10,hello\n")
    (folder / "events.csv").write_bytes(HEADER + b"2021-12-20 15:00:00,1,10,view,1\n2021-12-20 15:00:00,1,10,stare,\n")
    first, second = load(folder, engine), load(folder, engine)
    assert [(file.kind, file.rows, file.new, file.known) for file in first.files] == [
        ("users", 3, 2, 0),
        ("posts", 1, 1, 0),
        ("events", 2, 1, 0),
    ]
    assert [(file.new, file.known) for file in second.files] == [(0, 2), (0, 1), (0, 1)]
    assert set_aside(second.files[0]) == [(3, "age is not a whole number of 32 bits", "2,old")]
    assert set_aside(second.files[2]) == [(3, UNKNOWN_ACTION, "2021-12-20 15:00:00,1,10,stare,")]
    assert rows_of(engine, "SELECT user_id, age FROM user_data ORDER BY user_id") == [(1, 30), (3, None)]
    assert rows_of(engine, "SELECT count(*) FROM feed_data") == [(1,)]


def test_a_repaired_file_leaves_no_quarantine_of_the_load_before(folder: Path, lite: Engine) -> None:
    broken = load_events(folder, lite, HEADER + b"now,1,10,view,\n").quarantine_path
    assert broken is not None
    assert broken.exists()
    repaired = load_events(folder, lite, HEADER + b"2021-12-20 15:00:00,1,10,view,\n")
    assert repaired.quarantine_path is None
    assert not broken.exists()


def test_a_stray_quote_costs_its_own_line_alone(folder: Path, lite: Engine) -> None:
    good = b"2021-12-20 15:00:%02d,1,10,view,\n"
    # Read as CSV alone, lines 3 to 5 are one record of the right width, and line 4 would be lost in it.
    lines = HEADER + good % 1 + b'2021-12-20 15:00:02,1,10,view,"\n' + good % 3 + b'a"\n' + good % 4
    report = load_events(folder, lite, lines)
    assert [entry[:2] for entry in set_aside(report)] == [(3, "a quote that is not closed"), (5, "not 5 fields")]
    assert report.new == 3


def test_a_stray_quote_in_a_post_gives_back_the_lines_it_swallowed(folder: Path, lite: Engine) -> None:
    (folder / "posts.csv").write_text(
        'post_id,text,topic\n1,"open,a\n2,two,b\n3,"three\nlines ""here""\nof it",c\n4,"d,d",e\n'
    )
    report = load(folder, lite).files[0]
    assert [entry[:2] for entry in set_aside(report)] == [(2, "text after a closing quote")]
    assert rows_of(lite, "SELECT post_id, text FROM post_text_df ORDER BY post_id") == [
        (2, "two"),
        (3, 'three\nlines "here"\nof it'),
        (4, "d,d"),
    ]


def test_an_open_quote_at_the_end_of_many_posts_costs_one(folder: Path, lite: Engine) -> None:
    rows = "".join(f"{at},text {at}\n" for at in range(2, 5_000))
    (folder / "posts.csv").write_text(f'post_id,text\n1,"open\n{rows}')
    report = load(folder, lite).files[0]
    assert set_aside(report) == [(2, "a quote that is not closed", '1,"open')]
    assert report.new == 4_998


@pytest.mark.parametrize("ids", [("a1", "ünïcode ☃", "3"), ("5a1f3c9e-0000-4000-8000-000000000001", "x" * 200, "+5")])
def test_string_ids_are_kept_as_they_are(folder: Path, engine: Engine, ids: tuple[str, ...]) -> None:
    (folder / "users.csv").write_text("user_id\n" + "\n".join(ids) + f"\n{'x' * 201}\n")
    rows = "".join(f"2021-12-20 15:00:00, {name} ,{at},view\n" for at, name in enumerate(ids))
    (folder / "events.csv").write_text("timestamp,user_id,post_id,action\n" + rows)
    users, events = load(folder, engine).files
    assert set_aside(users)[0][:2] == (5, "user_id is longer than 200 characters")
    assert (users.new, events.new) == (3, 3)
    assert {row[0] for row in rows_of(engine, "SELECT user_id FROM user_data")} == set(ids)
    joined = "SELECT count(*) FROM feed_data JOIN user_data ON feed_data.user_id = user_data.user_id"
    assert rows_of(engine, joined) == [(3,)]


def test_ids_may_be_any_64_bit_integer(folder: Path, engine: Engine) -> None:
    ids = [-(2**63), -1, 0, 2**63 - 1]
    rows = "".join(f"2021-12-20 15:00:00,{user_id}, {user_id} ,view\n" for user_id in ids)
    report = load_events(folder, engine, b"timestamp,user_id,post_id,action\n" + rows.encode())
    assert report.new == 4
    assert rows_of(engine, "SELECT user_id, post_id FROM feed_data ORDER BY user_id") == [(one, one) for one in ids]


def test_most_ids_decide_their_type_and_a_table_that_is_there_decides_before_them(folder: Path, lite: Engine) -> None:
    (folder / "users.csv").write_text("user_id\na\nb\n3\n")
    (folder / "events.csv").write_text("timestamp,user_id,post_id,action\n2021-12-20 15:00:00,4,x,view\n")
    assert sum(file.new for file in load(folder, lite).files) == 4  # two of four user ids are strings: text it is
    (folder / "users.csv").unlink()
    rows = "".join(f"2021-12-20 15:00:00,{at},{at},view\n" for at in range(5, 15))
    report = load_events(folder, lite, b"timestamp,user_id,post_id,action\n" + rows.encode())
    assert report.new == 10
    assert {type(row[0]) for row in rows_of(lite, "SELECT post_id FROM feed_data")} == {str}


def test_a_new_table_takes_the_id_type_of_the_tables_that_are_there(folder: Path, lite: Engine) -> None:
    (folder / "users.csv").write_text("user_id\na\nb\n")
    load(folder, lite)
    (folder / "users.csv").unlink()
    load_events(folder, lite, b"timestamp,user_id,post_id,action\n2021-12-20 15:00:00,4,5,view\n")
    assert rows_of(lite, "SELECT user_id, post_id FROM feed_data") == [("4", 5)]


POSTS = pd.DataFrame(
    {
        "post_id": [1, 2, 3],
        "text": ['say "hi", all', None, "two\nlines"],
        "topic": ["news", "art", None],
        "published_at": [pd.Timestamp("2021-12-20 15:00:00"), pd.NaT, pd.Timestamp("2021-12-20 15:00:01.5")],
        "hidden": pd.array([True, None, False], dtype="boolean"),
        "score": [0.25, 2.0, None],
        "words": [10.0, None, 30.0],
    }
)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_csv_gzip_and_parquet_give_the_same_rows(folder: Path, engine: Engine, ending: str) -> None:
    path = folder / f"posts{ending}"
    POSTS.to_parquet(path) if ending == ".parquet" else POSTS.to_csv(path, index=False)
    assert load(folder, engine).files[0].new == 3
    found = rows_of(
        engine, "SELECT post_id, text, topic, published_at, hidden, score FROM post_text_df ORDER BY post_id"
    )
    assert [row[:3] for row in found] == [
        (1, 'say "hi", all', "news"),
        (2, None, "art"),
        (3, "two\nlines", None),
    ]
    moments = [pd.Timestamp("2021-12-20 15:00:00"), None, pd.Timestamp("2021-12-20 15:00:01.5")]
    assert [row[3] and pd.Timestamp(row[3]) for row in found] == moments
    assert [row[4] for row in found] == [True, None, False]
    assert [row[5] for row in found] == [0.25, 2.0, None]


def test_parquet_rows_are_checked_and_numbered(folder: Path, lite: Engine) -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2021-12-20 15:00:00+01:00"] * 4, utc=True),
            "user_id": [1.0, None, 2**60, 2.0],
            "post_id": pd.array([-5, 6, 7, 8], dtype="int64"),
            "action": pd.Categorical(["view", "view", "view", "stare"]),
        }
    )
    frame.to_parquet(folder / "events.parquet")
    report = load(folder, lite).files[0]
    assert [entry[:2] for entry in set_aside(report)] == [
        (2, "user_id is empty"),
        (3, "user_id is not a whole number of 64 bits"),  # beyond 2**53 floating point has lost the id
        (4, UNKNOWN_ACTION),
    ]
    assert rows_of(lite, "SELECT user_id, post_id, timestamp FROM feed_data") == [(1, -5, "2021-12-20 14:00:00.000000")]


def test_parquet_columns_with_types_are_checked_like_text(folder: Path, engine: Engine) -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(
                ["2021-12-20 15:00:00.25", "1969-12-31 23:59:59", "2201-01-01", "", "2021-12-20 15:00:00"],
                format="ISO8601",
            ),
            "user_id": pd.array([1, 2, 3, 4, 5], dtype="int16"),
            "post_id": [10, 10, 10, 10, 10],
            "action": ["view", "view", "view", "view", " like "],
            "target": pd.array([1, 0, 0, 0, 2], dtype="int64"),
        }
    )
    frame.to_parquet(folder / "events.parquet")
    report = load(folder, engine).files[0]
    assert [entry[:2] for entry in set_aside(report)] == [
        (2, "timestamp is not a time of the years 1970 to 2200"),
        (3, "timestamp is not a time of the years 1970 to 2200"),
        (4, "timestamp is empty"),
        (5, "target is not 0 or 1"),
    ]
    ((moment, user_id, action, target),) = rows_of(engine, "SELECT timestamp, user_id, action, target FROM feed_data")
    assert (pd.Timestamp(moment), user_id, action, target) == (pd.Timestamp("2021-12-20 15:00:00.25"), 1, "view", 1)


def test_a_folder_of_parquet_files_is_one_table_in_the_order_of_their_names(folder: Path, engine: Engine) -> None:
    (folder / "feed_data").mkdir()
    frame = pd.DataFrame({"user_id": [1, 2], "post_id": [10, 11], "action": ["view", "stare"]})
    for day in (21, 20):
        times = pd.to_datetime([f"2021-12-{day}"] * 2)
        frame.assign(timestamp=times, device="phone").to_parquet(folder / "feed_data" / f"2021-12-{day}.parquet")
    (folder / "feed_data" / "_SUCCESS").touch()
    told: list[tuple[Path, int, int]] = []
    load_folder(folder, engine, SourceSchema(), ACTIONS, folder.parent / "quarantine", lambda *step: told.append(step))
    report = load(folder, engine).files[0]

    assert (report.kind, report.rows, report.known) == ("events", 4, 2)
    assert report.ignored_columns == ["device"]
    assert [entry[:2] for entry in set_aside(report)] == [(2, UNKNOWN_ACTION), (4, UNKNOWN_ACTION)]
    assert told[-1] == (folder / "feed_data", size_bytes(folder / "feed_data"), 4)
    assert [row[0] for row in rows_of(engine, "SELECT user_id FROM feed_data")] == [1, 1]


def test_parquet_files_of_one_folder_must_have_the_same_columns(folder: Path, lite: Engine) -> None:
    (folder / "users").mkdir()
    pd.DataFrame({"user_id": [1], "age": [30]}).to_parquet(folder / "users" / "0.parquet")
    pd.DataFrame({"user_id": [2]}).to_parquet(folder / "users" / "1.parquet")
    with pytest.raises(SourceError, match=r"1\.parquet lacks the columns age, which 0\.parquet has\. The 1 rows"):
        load(folder, lite)


def test_parquet_texts_with_a_nul_or_broken_utf_8_are_set_aside(folder: Path, lite: Engine) -> None:
    frame = pd.DataFrame({"post_id": [1, 2, 3], "text": [b"fine", b"\xff,", b"\0"]})
    frame.to_parquet(folder / "posts.parquet")
    report = load(folder, lite).files[0]
    assert set_aside(report) == [(2, "bytes that are not UTF-8", '2,"\\xff,"'), (3, "a NUL character", "3,\\x00")]
    assert rows_of(lite, "SELECT post_id, text FROM post_text_df") == [(1, "fine")]


def test_a_byte_order_mark_carriage_returns_and_empty_lines_are_no_trouble(folder: Path, lite: Engine) -> None:
    lines = (
        b"\xef\xbb\xbf" + HEADER + b"\n2021-12-20 15:00:00,1,10,view,\n\nnow,1,10,view,\n2021-12-20 15:00:01,1,10,like,"
    )
    report = load_events(folder, lite, lines.replace(b"\n", b"\r\n"))
    assert (report.rows, report.new) == (3, 2)
    assert [entry[0] for entry in set_aside(report)] == [5]


def test_profile_columns_take_the_type_of_their_values(folder: Path, engine: Engine) -> None:
    (folder / "users.csv").write_text(
        "user_id,gender,age,country,visits,score,zip,none,user name\n"
        "1,female,25.0,7,5,0.5,01234,,x\n"
        "2,male,old,NO,-6,7,12345,,y\n"
        "3,male,,NO,,,,,\n"
    )
    report = load(folder, engine).files[0]
    assert set_aside(report) == [(3, "age is not a whole number of 32 bits", "2,male,old,NO,-6,7,12345,,y")]
    assert report.ignored_columns == ["user name"]
    assert rows_of(engine, "SELECT user_id, gender, age, country, visits, score, zip FROM user_data ORDER BY 1") == [
        (1, "female", 25, "7", 5, 0.5, "01234"),
        (3, "male", None, "NO", None, None, None),
    ]
    assert "none" not in {entry["name"] for entry in inspect(engine).get_columns("user_data")}


def test_each_kind_of_bad_post_is_set_aside_with_its_line(folder: Path, engine: Engine) -> None:
    (folder / "posts.csv").write_text(
        "post_id,text,published_at,hidden,author_id\n"
        "1,a,2021-12-20T15:00:00Z,TRUE,7\n"
        "2,b,soon,no,7\n"
        "3,c,,maybe,7\n"
        f"4,d,,0,{'x' * 201}\n"
        ",e,,,\n"
        "6,,,,\n"
    )
    report = load(folder, engine).files[0]
    assert [entry[:2] for entry in set_aside(report)] == [
        (3, "published_at is not a time of the years 1970 to 2200"),
        (4, "hidden is not true or false"),
        (5, "author_id is longer than 200 characters"),
        (6, "post_id is empty"),
    ]
    found = rows_of(engine, "SELECT post_id, text, hidden, author_id FROM post_text_df ORDER BY post_id")
    assert found == [(1, "a", True, "7"), (6, None, None, None)]


def test_rows_that_a_table_cannot_hold_are_bad(folder: Path, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE user_data (user_id VARCHAR(5), age SMALLINT, city VARCHAR(4) NOT NULL)"))
    (folder / "users.csv").write_text("user_id,age,city\na,30,Oslo\nabcdef,30,Oslo\nb,40000,Oslo\nc,30,London\nd,30,\n")
    report = load(folder, engine).files[0]
    assert [entry[:2] for entry in set_aside(report)] == [
        (3, "user_id is longer than 5 characters"),
        (4, "age is not a whole number of 16 bits"),
        (5, "city is longer than 4 characters"),
        (6, "city is empty"),
    ]
    assert rows_of(engine, "SELECT user_id, age, city FROM user_data") == [("a", 30, "Oslo")]


def test_columns_may_go_by_the_names_of_the_settings(folder: Path, lite: Engine) -> None:
    schema = SourceSchema(events=EventNames(table="log", timestamp="at", user_id="who", action="did"))
    (folder / "events.csv").write_text("at,who,post_id,did,device\n2021-12-20 15:00:00,1,2,view,phone\n")
    report = load(folder, lite, schema).files[0]
    assert report.ignored_columns == ["device"]
    assert rows_of(lite, "SELECT * FROM log") == [("2021-12-20 15:00:00.000000", 1, 2, "view")]


def test_a_missing_column_is_named_with_those_found_and_the_remedy(folder: Path, lite: Engine) -> None:
    with pytest.raises(SourceError) as raised:
        load_events(folder, lite, b"time,user_id,post_id,action\n2021-12-20 15:00:00,1,2,view\n")
    assert str(raised.value) == (
        "events.csv has no column timestamp; it has time, user_id, post_id, action. Did you mean time? "
        'Name it in hourfeed.toml: [source.events] timestamp = "time" (or in HOURFEED_SOURCE__EVENTS__TIMESTAMP)'
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "events.csv is empty"),
        (b"\xff\xfet\0", "bytes that are not UTF-8"),
        (b'"timestamp', "a quote that is not closed"),
        (b"timestamp,user_id,user_id,post_id,action\n", "twice there is 'user_id'"),
    ],
)
def test_a_file_without_a_proper_header_is_refused(folder: Path, lite: Engine, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_events(folder, lite, content)


def test_a_folder_without_known_files_names_what_is_looked_for(folder: Path, lite: Engine) -> None:
    (folder / "clicks.csv").write_text("a\n")
    with pytest.raises(SourceError, match=r"events: events or feed_data.*\.parquet; it holds clicks\.csv"):
        load(folder, lite)
    with pytest.raises(SourceError, match="is not a folder"):
        load(folder / "nowhere", lite)


def test_two_files_of_one_kind_are_both_named(folder: Path, lite: Engine) -> None:
    (folder / "events.csv").write_bytes(HEADER)
    (folder / "feed_data.csv.gz").write_bytes(gzip.compress(HEADER))
    with pytest.raises(SourceError, match=r"events\.csv and feed_data\.csv\.gz in .* both hold events"):
        load(folder, lite)


def test_other_files_are_passed_over_and_named(folder: Path, lite: Engine) -> None:
    (folder / "README.md").write_text("notes")
    (folder / ".hidden").write_text("")
    (folder / "Users.CSV").write_text("user_id\n1\n")
    report = load(folder, lite)
    assert report.ignored == ["README.md"]
    assert [file.kind for file in report.files] == ["users"]


def test_a_truncated_gzip_is_refused_after_the_rows_before_the_damage(folder: Path, lite: Engine) -> None:
    good = b"".join(b"2021-12-20 15:%02d:%02d,%d,10,view,\n" % (at // 60, at % 60, at * 7919) for at in range(3_000))
    whole = gzip.compress(HEADER + good)
    with pytest.raises(SourceError, match=r"events\.csv\.gz is damaged .* rows before that point are loaded"):
        load_events(folder, lite, whole[: len(whole) // 2], "events.csv.gz")
    ((loaded, least, most),) = rows_of(lite, "SELECT count(*), min(user_id), max(user_id) FROM feed_data")
    assert 500 < loaded < 3_000
    assert (least, most) == (0, (loaded - 1) * 7919)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_progress_counts_up_to_all_bytes_and_rows_of_the_file(folder: Path, lite: Engine, ending: str) -> None:
    path = folder / f"users{ending}"
    frame = pd.DataFrame({"user_id": range(120_000), "visits": 1})
    frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    told: list[tuple[Path, int, int]] = []
    schema, quarantine = SourceSchema(), folder.parent / "quarantine"
    load_folder(folder, lite, schema, ACTIONS, quarantine, lambda *step: told.append(step))
    assert told == sorted(told, key=lambda step: step[1:])
    assert len(told) == 3  # of 50,000 rows and a little, 50,000 and a little, and the rest
    assert told[-1] == (path, path.stat().st_size, 120_000)


@pytest.mark.parametrize("name", ["events.csv.gz", "events.parquet"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(folder: Path, lite: Engine, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name} is damaged or not what its ending says"):
        load_events(folder, lite, HEADER, name)
