from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slates.bucket import bucket_of, parse_bucket
from slates.errors import CodecError
from slates.manifest import Manifest

MANIFEST = Manifest(
    id="20211220T150000-7",
    seq=7,
    state="live",
    as_of=datetime(2021, 12, 20, 15, tzinfo=UTC),
    started_at=datetime(2021, 12, 20, 15, 5, 1, tzinfo=UTC),
    built_at=datetime(2021, 12, 20, 15, 6, 30, tzinfo=UTC),
    first_bucket=parse_bucket("2021-12-20T15"),
    last_bucket=parse_bucket("2021-12-21T14"),
    users=2,
    posts=3,
    slates=48,
    segments=1,
    shards=1,
    top_n=20,
    slate_bytes=4096,
    codec="ids",
    ranker="lightgbm",
    user_id_type="integer",
    post_id_type="string",
    model_digest="ab12",
    config_digest="cd34",
    events=61,
    quarantined=5,
    previous="20211220T140000-6",
    explore_places=(4, 5),
    explored=95,
    gate={"chosen": "lightgbm", "difference": 0.05},
    alike=0.031,
    seconds={"read": 1.5, "score": 2.0},
    by_bucket={"coverage": [0.5]},
    guards={"whole": 1.0, "broken": ["rows"]},
    run="refresh",
    input_digest="ef56",
    resumed=3,
)
HASH = {
    "id": "20211220T150000-7",
    "seq": "7",
    "state": "live",
    "as_of": "2021-12-20T15:00:00Z",
    "started_at": "2021-12-20T15:05:01Z",
    "built_at": "2021-12-20T15:06:30Z",
    "first_bucket": "2021-12-20T15",
    "last_bucket": "2021-12-21T14",
    "users": "2",
    "posts": "3",
    "slates": "48",
    "segments": "1",
    "shards": "1",
    "top_n": "20",
    "slate_bytes": "4096",
    "codec": "ids",
    "ranker": "lightgbm",
    "user_id_type": "integer",
    "post_id_type": "string",
    "model_digest": "ab12",
    "config_digest": "cd34",
    "events": "61",
    "quarantined": "5",
    "previous": "20211220T140000-6",
    "explore_places": "4 5",
    "explored": "95",
    "gate": '{"chosen":"lightgbm","difference":0.05}',
    "alike": "0.0310",
    "by_bucket": '{"coverage":[0.5]}',
    "run": "refresh",
    "input_digest": "ef56",
    "resumed": "3",
    "seconds": '{"read":1.5,"score":2.0}',
    "guards": '{"whole":1.0,"broken":["rows"]}',
}


def stored(**changed: str) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in {**HASH, **changed}.items()}


def test_a_manifest_is_a_hash_of_readable_strings() -> None:
    assert MANIFEST.to_hash() == HASH
    assert set(HASH) == {field.name for field in fields(Manifest)}


def test_a_stored_manifest_is_read_back() -> None:
    assert Manifest.from_hash(stored()) == MANIFEST


def test_a_manifest_that_is_still_being_written_has_no_end() -> None:
    writing = replace(MANIFEST, state="writing", built_at=None)
    assert writing.to_hash()["built_at"] == ""
    assert Manifest.from_hash(stored(state="writing", built_at="")) == writing


def test_times_are_written_in_utc() -> None:
    moscow = datetime(2021, 12, 20, 18, tzinfo=timezone(timedelta(hours=3)))
    assert replace(MANIFEST, as_of=moscow).to_hash()["as_of"] == "2021-12-20T15:00:00Z"


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert Manifest.from_hash({**stored(), b"mood": b"fine"}) == MANIFEST


def test_a_manifest_of_an_earlier_version_is_read_with_defaults() -> None:
    raw = stored()
    for name in (b"explore_places", b"explored", b"gate", b"alike", b"by_bucket", b"guards"):
        del raw[name]
    assert Manifest.from_hash(raw) == replace(
        MANIFEST, explore_places=(), explored=0, gate={}, alike=None, by_bucket={}, guards={}
    )
    assert Manifest.from_hash({**raw, b"alike": b""}).alike is None


def test_a_missing_field_is_named() -> None:
    raw = stored()
    del raw[b"codec"], raw[b"as_of"]
    with pytest.raises(CodecError, match="lacks as_of, codec"):
        Manifest.from_hash(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("users", "many"),
        ("explore_places", "4,5"),
        ("gate", "yes"),
        ("alike", "much"),
        ("as_of", "yesterday"),
        ("seconds", "{"),
        ("first_bucket", "noon"),
        ("last_bucket", ""),
    ],
)
def test_a_field_that_cannot_be_read_is_a_codec_error(name: str, value: str) -> None:
    with pytest.raises(CodecError):
        Manifest.from_hash(stored(**{name: value}))


@pytest.mark.parametrize("raw", [{b"\xff": b""}, {**stored(), b"ranker": b"\xff"}])
def test_bytes_that_are_no_text_are_a_codec_error(raw: dict[bytes, bytes]) -> None:
    with pytest.raises(CodecError):
        Manifest.from_hash(raw)


MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))


@given(
    MOMENTS,
    st.integers(-(2**63), 2**63),
    st.text(st.characters(codec="utf-8")),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_any_manifest_comes_back(moment: datetime, count: int, name: str, seconds: dict[str, float]) -> None:
    manifest = replace(
        MANIFEST, as_of=moment, first_bucket=bucket_of(moment), users=count, ranker=name, seconds=seconds
    )
    raw = {field.encode(): value.encode() for field, value in manifest.to_hash().items()}
    assert Manifest.from_hash(raw) == manifest
