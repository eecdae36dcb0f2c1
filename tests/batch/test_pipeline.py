"""A whole run on a small simulated network, with a real Redis and both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from redis import Redis
from sqlalchemy import Engine, text

from batch.errors import BatchError
from batch.features.segments import build_segments
from batch.forecast import counts_of, sizes_of
from batch.gate import Verdict
from batch.pipeline import FALLBACK_RANKER, read_at, run_batch
from batch.rank import make_scorer
from batch.settings import BatchSettings
from demo.oracle import Oracle
from demo.parameters import Parameters
from demo.simulate import simulate
from server.app import create_app
from server.settings import ServerSettings
from slates.bucket import bucket_field, bucket_of
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, decode_slate
from slates.errors import NoRoomError
from slates.forecast import generation_bytes
from slates.generations import live_generation
from slates.keys import Keys
from slates.manifest import Manifest
from slates.room import read_store
from source.engine import open_engine
from source.schema import SourceSchema
from source.write import write_rows

END = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = END - timedelta(days=1, hours=5)
NETWORK = Parameters(users=150, posts=400, days=6, seed=5, end=END)
KEYS = Keys()
BESIDE = {SEGMENT_FIELD.encode(), ACTED_FIELD.encode()}
"""The fields of a user's hash that are no buckets."""
Slates = dict[bytes, dict[bytes, bytes]]


class Notes:
    """Hears a run."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: set[str] = set()

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.add(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    engine = open_engine(None, folder)
    simulate(NETWORK, engine, SourceSchema(), folder)
    engine.dispose()
    return folder


@pytest.fixture
def engine(network: Path) -> Iterator[Engine]:
    engine = open_engine(None, network)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    return BatchSettings(state=tmp_path, hours=6, top_n=8, trees=30, train_groups=400, train_negatives=30, gate_days=0)


def slates_of(redis: Redis, manifest: Manifest) -> Slates:
    """Return every hash of slates of a generation, by the key without the generation's id."""
    prefix = f"{KEYS.generation(manifest.id)}:".encode()
    names = [key for key in redis.scan_iter(match=prefix + b"*") if redis.type(key) == b"hash"]
    return {name.removeprefix(prefix): redis.hgetall(name) for name in names}  # type: ignore[misc]


def between(begin: datetime, end: datetime) -> dict[str, str]:
    """Return parameters that SQLite compares with its times."""
    return {"a": f"{begin:%Y-%m-%d %H:%M:%S}", "b": f"{end:%Y-%m-%d %H:%M:%S}"}


def publish(
    settings: BatchSettings,
    engine: Engine,
    redis: Redis,
    model: Path | None = None,
    as_of: datetime = AS_OF,
    *,
    force: bool = False,
) -> tuple[Manifest, Slates]:
    manifest = run_batch(settings, engine, redis, as_of, Notes(), model, force=force)
    return manifest, slates_of(redis, manifest)


def test_every_user_gets_a_whole_slate_for_every_hour(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    manifest, slates = publish(settings, engine, redis_client)
    names = {bucket_field(bucket_of(AS_OF) + hour).encode() for hour in range(6)}
    users = {name: fields for name, fields in slates.items() if name.startswith(b"user:")}
    assert len(users) == manifest.users == 150
    for fields in users.values():
        assert fields.keys() - BESIDE == names
        for name in names:
            posts = decode_slate(fields[name])
            assert len(set(posts)) == len(posts) == 8
    assert manifest.state == "live"
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert (live.id, live.seconds, live.slate_bytes) == (manifest.id, manifest.seconds, manifest.slate_bytes)
    assert (manifest.ranker, manifest.slates, manifest.hours) == ("lightgbm", 900, 6)
    assert slates[b"popular"].keys() == names
    assert sum(name.startswith(b"segment:") for name in slates) == manifest.segments > 1
    assert {"read", "features", "train", "rank", "slate", "publish", "verify"} <= manifest.seconds.keys()


def test_posts_are_in_redis_and_what_users_acted_on_is_not_in_their_slates(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    _, slates = publish(settings, engine, redis_client)
    acted = acted_before_as_of(engine)
    shown = {
        (name.removeprefix(b"user:").decode(), post)
        for name, fields in slates.items()
        if name.startswith(b"user:")
        for field, slate in fields.items()
        if field not in BESIDE
        for post in decode_slate(slate)
    }
    assert acted
    assert shown
    assert not acted & shown
    for _, post in shown:
        assert all(redis_client.hmget(KEYS.post(post), "text", "topic"))


def test_where_no_action_counts_as_acted_on_all_posts_are_shown(
    settings: BatchSettings, redis_client: Redis, sqlite_url: str, tmp_path: Path
) -> None:
    engine = open_engine(sqlite_url, tmp_path)
    rows = {"timestamp": pd.to_datetime(["2026-02-01 10:00"] * 3), "user_id": [1, 2, 2], "post_id": [5, 5, 6]}
    write_rows(engine, SourceSchema(), "events", pd.DataFrame({**rows, "action": ["view", "view", "like"]}))
    shown = []
    for actions in ((), ("like",), None):
        chosen = settings.model_copy(update={"acted_on": actions, "ranker": "popular_all"})
        _, slates = publish(chosen, engine, redis_client, as_of=datetime(2026, 2, 1, 12, tzinfo=UTC))
        fields = slates[b"user:2"]
        shown.append(({fields[name] for name in fields.keys() - BESIDE}, fields.get(b"acted")))
    engine.dispose()
    assert shown == [({b"5 6"}, None), ({b"5"}, b"6"), ({b""}, b"5 6")]


def test_acted_on_must_name_known_actions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"acted_on names veiw, which actions does not; known are view"):
        BatchSettings(state=tmp_path, acted_on=("like", "veiw"))


def acted_before_as_of(engine: Engine) -> set[tuple[str, str]]:
    """Return user and post of every event before AS_OF."""
    query = text("SELECT user_id, post_id FROM feed_data WHERE timestamp < :as_of")
    with engine.connect() as connection:
        rows = connection.execute(query, {"as_of": f"{AS_OF:%Y-%m-%d %H:%M}"}).all()
    return {(str(user), str(post)) for user, post in rows}


def test_the_longest_feed_is_filled_without_what_its_user_acted_on(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    manifest, slates = publish(settings, engine, redis_client)
    acted = acted_before_as_of(engine)
    popular = set(decode_slate(slates[b"popular"][bucket_field(bucket_of(AS_OF)).encode()]))
    client = create_app(ServerSettings(), redis_client).test_client()
    users = sorted({user for user, _ in acted}, key=int)
    spared = 0
    for user in users:
        answer = client.get("/post/recommendations/", query_string={"id": user, "time": f"{AS_OF:%FT%T}", "limit": 100})
        posts = [str(post["id"]) for post in answer.json or ()]
        mine = {post for whose, post in acted if whose == user}
        assert not mine & set(posts)
        assert len(set(posts)) == len(posts) <= 100
        assert popular - mine <= set(posts) or len(posts) == 100  # all else of the shared slates fills the feed
        assert int(answer.headers["X-Hourfeed-Filled"]) == len(posts) - 8
        spared += bool(mine & popular)
    assert manifest.users >= len(users) > 100
    assert spared > 50  # so there was something to leave out
    assert sum(ACTED_FIELD.encode() in fields for fields in slates.values()) >= spared


def test_two_runs_on_the_same_input_give_the_same_slates(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    first, slates = publish(settings, engine, redis_client)
    second, again = publish(settings, engine, redis_client)
    assert first.id != second.id
    assert second.previous == first.id
    assert first.model_digest == second.model_digest != ""
    assert slates == again


def test_rules_hold_in_what_is_published_and_the_manifest_counts_what_is_explored(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    ruled = settings.model_copy(update={"max_per_topic": 1, "explore_places": 1, "rules_within": 4})
    manifest, slates = publish(ruled, engine, redis_client)
    plain, before = publish(settings, engine, redis_client)
    with engine.connect() as connection:
        topic = {str(post): name for post, name in connection.execute(text("SELECT post_id, topic FROM post_text_df"))}

    def heads(slates: Slates) -> list[list[str]]:
        """Return the first four posts of every user's slates."""
        users = (fields for name, fields in slates.items() if name.startswith(b"user:"))
        return [decode_slate(fields[name])[:4] for fields in users for name in fields.keys() - BESIDE]

    assert {len({topic[post] for post in head}) for head in heads(slates)} == {4}
    assert min(len({topic[post] for post in head}) for head in heads(before)) < 4
    assert (manifest.explore_places, manifest.explored) == ((4,), 900)
    assert (plain.explore_places, plain.explored) == ((), 0)
    explored, shown = ({head[3] for head in heads(found)} for found in (slates, before))
    assert 5 < len(explored) <= 20  # a twentieth of at most 400 posts
    assert explored - shown


def test_what_the_gate_found_is_published_and_the_manifest_says_so(
    settings: BatchSettings, engine: Engine, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated, notes = settings.model_copy(update={"gate_days": 1}), Notes()
    manifest = run_batch(gated, engine, redis_client, AS_OF, notes)
    found = manifest.gate
    better = found["trained"] >= found["of_baseline"]
    assert found["chosen"] == manifest.ranker == ("lightgbm" if better else found["baseline"])
    assert bool(manifest.model_digest) == better
    assert found["difference"] == pytest.approx(found["trained"] - found["of_baseline"], abs=1e-3)
    assert found["cases"] >= found["users"] > 20
    assert found["begin"] < found["as_of"] == "2026-02-27T19:00:00Z"
    assert "gate: replay" in notes.stages
    assert any(note.startswith(f"gate: {manifest.ranker} chosen") for note in notes.notes)
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert live.gate == found
    lost = Verdict("popular_6h", 0.4, "popular_6h", 0.5, -0.1, 0.05, 300, 100, 0, int(AS_OF.timestamp()))
    monkeypatch.setattr("batch.gate.compare", lambda *_: lost)
    manifest, _ = publish(gated.model_copy(update={"gate_every_h": 0}), engine, redis_client)
    assert (manifest.ranker, manifest.model_digest, manifest.gate["chosen"]) == ("popular_6h", "", "popular_6h")
    assert manifest.seconds["train"] < 0.1  # the second training is spared


def test_a_ranker_that_gives_everybody_the_same_is_not_published_unless_forced(
    settings: BatchSettings, engine: Engine, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = publish(settings, engine, redis_client)
    assert before.alike is not None
    assert before.alike < 0.9  # a short log tells little of users apart, but not nothing
    monkeypatch.setattr(
        "batch.pipeline.make_scorer", lambda _ranker, _model, view, buckets: make_scorer("newest", None, view, buckets)
    )
    with pytest.raises(BatchError, match=r"of the users with a history would get the same 5 posts .* --force"):
        publish(settings, engine, redis_client)
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert live.id == before.id
    forced, _ = publish(settings, engine, redis_client, force=True)
    assert (forced.ranker, forced.alike, forced.previous) == ("lightgbm", 1.0, before.id)
    chosen, _ = publish(settings.model_copy(update={"ranker": "newest"}), engine, redis_client)
    assert (chosen.alike, chosen.state) == (1.0, "live")
    won = Verdict("item_knn", 0.4, "item_knn", 0.5, -0.1, 0.05, 300, 100, 0, int(AS_OF.timestamp()))
    monkeypatch.setattr("batch.gate.compare", lambda *_: won)
    gated, _ = publish(settings.model_copy(update={"gate_days": 1}), engine, redis_client)
    assert (gated.ranker, gated.alike) == ("item_knn", 1.0)


def test_a_saved_model_gives_the_slates_that_its_own_run_gave(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    first, slates = publish(settings, engine, redis_client)
    saved = settings.state / "models" / first.model_digest
    second, again = publish(settings, engine, redis_client, model=saved)
    assert second.model_digest == first.model_digest
    assert second.seconds["train"] < 0.1
    assert slates == again
    baseline, _ = publish(settings.model_copy(update={"ranker": "newest"}), engine, redis_client, model=saved)
    assert (baseline.ranker, baseline.model_digest) == ("newest", "")  # the manifest names no model that did not score


def test_sqlite_and_postgres_give_the_same_slates(
    settings: BatchSettings, engine: Engine, redis_client: Redis, postgres_url: str, tmp_path: Path
) -> None:
    _, slates = publish(settings, engine, redis_client)
    postgres = open_engine(postgres_url, tmp_path)
    simulate(NETWORK, postgres, SourceSchema(), tmp_path / "postgres")
    _, from_postgres = publish(settings, postgres, redis_client)
    postgres.dispose()
    assert slates == from_postgres


def test_nothing_after_the_as_of_time_reaches_the_slates(
    settings: BatchSettings, engine: Engine, redis_client: Redis, network: Path, tmp_path: Path
) -> None:
    first, slates = publish(settings, engine, redis_client)
    other = tmp_path / "other"
    other.mkdir()
    (other / "hourfeed.db").write_bytes((network / "hourfeed.db").read_bytes())
    changed = open_engine(None, other)
    with changed.begin() as connection:
        cut = {"as_of": f"{AS_OF:%Y-%m-%d %H:%M:%S}"}
        assert connection.execute(text("DELETE FROM feed_data WHERE timestamp >= :as_of"), cut).rowcount > 0
        connection.execute(text("UPDATE post_text_df SET text = 'x', topic = 'y' WHERE published_at >= :as_of"), cut)
    later = {
        "timestamp": pd.to_datetime([AS_OF.replace(tzinfo=None)]),
        "user_id": [200],
        "post_id": [1],
        "action": ["like"],
    }
    write_rows(changed, SourceSchema(), "events", pd.DataFrame(later))
    second, again = publish(settings, changed, redis_client)
    changed.dispose()
    assert first.model_digest == second.model_digest
    assert slates == again


def test_a_baseline_can_be_published_by_a_setting(settings: BatchSettings, engine: Engine, redis_client: Redis) -> None:
    manifest, slates = publish(settings.model_copy(update={"ranker": "popular_24h"}), engine, redis_client)
    assert manifest.ranker == "popular_24h"
    assert manifest.model_digest == ""
    popular = decode_slate(slates[b"popular"][bucket_field(bucket_of(AS_OF)).encode()])[:8]
    with engine.connect() as connection:
        query = "SELECT post_id, count(*) FROM feed_data WHERE timestamp >= :a AND timestamp < :b GROUP BY 1"
        rows = connection.execute(text(query), between(AS_OF - timedelta(days=1), AS_OF)).all()
    counts: dict[int, int] = dict(rows)
    best = sorted(counts.values(), reverse=True)[:8]
    assert [counts[int(post)] for post in popular] == best


def test_a_log_too_short_to_train_on_publishes_the_fallback_and_says_so(
    settings: BatchSettings, redis_client: Redis, sqlite_url: str, tmp_path: Path
) -> None:
    engine = open_engine(sqlite_url, tmp_path)
    rows = {"timestamp": pd.to_datetime(["2026-02-01 10:00"] * 3), "user_id": [1, 2, 2], "post_id": [5, 5, 6]}
    write_rows(engine, SourceSchema(), "events", pd.DataFrame({**rows, "action": ["view"] * 3}))
    notes = Notes()
    manifest = run_batch(settings, engine, redis_client, datetime(2026, 2, 1, 12, tzinfo=UTC), notes)
    assert manifest.ranker == FALLBACK_RANKER
    assert any("too short to train on" in note for note in notes.notes)
    slates = slates_of(redis_client, manifest)
    assert set(slates[b"user:1"].values()) == {b"6", b"5"}
    assert slates[b"user:1"][b"acted"] == b"5"
    assert set(slates[b"user:2"].values()) == {b"", b"5 6"}
    assert slates[b"user:2"][b"acted"] == b"5 6"
    with pytest.raises(BatchError, match="no post exists before"):
        run_batch(settings, engine, redis_client, datetime(2026, 1, 1, tzinfo=UTC), notes)
    engine.dispose()
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert live.id == manifest.id


def test_a_run_that_could_show_nothing_publishes_nothing(
    settings: BatchSettings, engine: Engine, redis_client: Redis, network: Path, tmp_path: Path
) -> None:
    manifest, _ = publish(settings, engine, redis_client)
    (tmp_path / "hourfeed.db").write_bytes((network / "hourfeed.db").read_bytes())
    all_hidden = open_engine(None, tmp_path)
    with all_hidden.begin() as connection:
        connection.execute(text("ALTER TABLE post_text_df ADD COLUMN hidden BOOLEAN DEFAULT 1"))
    with pytest.raises(BatchError, match=r"none of \d+ posts can be shown \(\d+ are hidden"):
        publish(settings, all_hidden, redis_client)
    all_hidden.dispose()
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert live.id == manifest.id


def test_large_catalogues_go_through_the_retrievers(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    cut = settings.model_copy(update={"full_catalogue_posts": 40, "candidates": 10})
    manifest, slates = publish(cut, engine, redis_client)
    everything, _ = publish(settings, engine, redis_client)
    assert 10 <= manifest.posts < everything.posts
    assert len([name for name in slates if name.startswith(b"user:")]) == 150


def test_a_run_beats_popularity_by_what_users_would_like(
    settings: BatchSettings, engine: Engine, network: Path, redis_client: Redis
) -> None:
    oracle, hour = Oracle.load(network / "oracle.npz"), int(AS_OF.timestamp()) // 3600

    def likes(manifest: Manifest) -> float:
        slates, bucket = slates_of(redis_client, manifest), bucket_field(bucket_of(AS_OF)).encode()
        users = [key for key in slates if key.startswith(b"user:")]
        posts = [[int(post) for post in decode_slate(slates[key][bucket])[:5]] for key in users]
        ids = np.array([int(key.removeprefix(b"user:")) for key in users])
        return float(oracle.like_probability(ids[:, None], np.array(posts), hour).sum(axis=1).mean())

    trained = likes(publish(settings, engine, redis_client)[0])
    popular = likes(publish(settings.model_copy(update={"ranker": "popular_all"}), engine, redis_client)[0])
    assert trained > 1.05 * popular


def test_a_run_that_redis_has_no_room_for_ends_before_its_work_and_says_what_to_do(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    settings = settings.model_copy(update={"ranker": "popular_24h"})
    live, _ = publish(settings, engine, redis_client)
    before = {key.decode() for key in redis_client.scan_iter()}
    used = int(redis_client.info("memory")["used_memory"])
    notes = Notes()
    redis_client.config_set("maxmemory", used + 100_000)
    try:
        with pytest.raises(NoRoomError, match=r"3 more generations of .* Set maxmemory to"):
            run_batch(settings, engine, redis_client, AS_OF, notes)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert notes.stages == {"read"}
    assert {key.decode() for key in redis_client.scan_iter()} == before
    assert redis_client.get(KEYS.current) == live.id.encode()


def test_a_runs_forecast_is_within_fifteen_per_cent_of_its_generation(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    settings = settings.model_copy(update={"ranker": "popular_24h", "hours": 24, "top_n": 20})
    tables = read_at(settings, engine, AS_OF, Notes())
    live, slates = publish(settings, engine, redis_client)
    keys = [KEYS.generation(live.id).encode() + b":" + name for name in slates]
    taken = sum(int(redis_client.memory_usage(key, samples=0) or 0) for key in keys)
    segments = build_segments(tables.users).names
    sizes = sizes_of(settings, counts_of(tables), len(segments), sum(map(len, segments)) / len(segments))
    forecast = generation_bytes(sizes, read_store(redis_client))
    assert forecast / taken == pytest.approx(1, abs=0.15)
