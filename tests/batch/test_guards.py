"""The guards: what each measures and where it breaks; runs on a real Redis that are blocked, released and forced."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import Generation, manifest_of
from redis import Redis
from small_world import make_history, make_tables
from sqlalchemy import Engine, text

from batch.errors import BlockedError
from batch.features.view import View
from batch.guards import broken_guards, count_rows, draw_sample, measure
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from batch.slate import ActedOn
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.bucket import bucket_of
from slates.errors import NoGenerationError
from slates.generations import list_generations, live_generation, release, retire, rollback
from slates.keys import Keys
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.sample import sample_users
from slates.writer import GenerationWriter
from source.engine import open_engine
from source.schema import SourceSchema

KEYS = Keys()
AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = BatchSettings()
GOOD = {
    "rows": {"users": 100, "profiles": 90, "posts": 50, "events": 1000},
    "sample": 100,
    "whole": 1.0,
    "against": "before",
    "left": {"users": 1.0, "same_users": 1.0, "profiles": 1.0, "posts": 1.0, "events": 1.0},
    "compared": 100,
    "overlap": 0.8,
    "churn": 0.01,
    "order": 0.8,
    "top_share": 0.5,
    "coverage": 1.0,
}


def manifests(guards: dict[str, Any], **changes: Any) -> tuple[Manifest, Manifest]:
    about = {"as_of": AS_OF, "ranker": "lightgbm", "guards": {"rows": GOOD["rows"]}}
    live = manifest_of(Generation("before", manifest=about))
    about = {"as_of": AS_OF + timedelta(hours=1), "ranker": "lightgbm", "guards": {**GOOD, **guards}, **changes}
    return live, manifest_of(Generation("after", manifest=about))


def broken(guards: dict[str, Any], *, chosen_by_gate: bool = False, **changes: Any) -> dict[str, str]:
    return broken_guards(SETTINGS, *manifests(guards, **changes), chosen_by_gate=chosen_by_gate)


def test_an_ordinary_run_breaks_no_guard_nor_does_a_first_one() -> None:
    assert broken({}) == {}
    assert broken({}, alike=0.95) == {}
    first = {"rows": GOOD["rows"], "sample": 100, "whole": 0.99}
    _, manifest = manifests({})
    assert broken_guards(SETTINGS, None, replace(manifest, guards=first), chosen_by_gate=False) == {}


@pytest.mark.parametrize(
    ("guards", "name", "said"),
    [
        ({"whole": 0.98}, "whole", "2.0% of the slates hold fewer posts than they could (at most 1.0% may)"),
        (
            {"left": {"users": 1.0, "posts": 0.5}},
            "rows",
            "50.0% of the posts that may be shown of the live generation are left (at least 80% must be)",
        ),
        ({"churn": 0.95}, "churn", "95.0% of the slates begin with five posts none of which are among the first five"),
        ({"coverage": 0.2}, "coverage", "20.0% as many different posts are shown as in the live generation"),
    ],
)
def test_a_guard_says_value_and_limit(guards: dict[str, Any], name: str, said: str) -> None:
    found = broken(guards)
    assert list(found) == [name]
    assert said in found[name]


def test_several_guards_are_all_named() -> None:
    assert list(broken({"whole": 0.5, "churn": 1.0}, alike=1.0)) == ["whole", "alike", "churn"]
    both = broken({"left": {"users": 0.1, "events": 0.2}})["rows"]
    assert "10.0% of the users" in both
    assert "20.0% of the events" in both


def test_of_few_rows_any_part_may_go() -> None:
    live, manifest = manifests({"left": {"users": 0.5, "same_users": 0.5, "events": 0.5}})
    live = replace(live, guards={"rows": {"users": 19, "events": 20}})
    said = broken_guards(SETTINGS, live, manifest, chosen_by_gate=False)["rows"]
    assert said.startswith("50.0% of the events of the live generation are left")


def test_nearly_everybody_alike_stops_a_ranker_that_should_tell_users_apart() -> None:
    said = broken({}, alike=0.96)["alike"]
    assert said.startswith("96.0% of the users with a history would get the same 5 posts from the ranker lightgbm")
    assert list(broken({}, alike=1.0, ranker="item_knn")) == ["alike"]
    assert broken({}, alike=1.0, ranker="popular_24h") == {}
    assert broken({}, alike=1.0, chosen_by_gate=True) == {}


def test_slates_are_judged_of_enough_users_and_the_same_ranker_churn_of_near_runs() -> None:
    assert broken({"churn": 1.0, "compared": 19}) == {}
    assert broken({"churn": 1.0}, as_of=AS_OF + timedelta(hours=7)) == {}
    assert list(broken({"churn": 1.0}, as_of=AS_OF + timedelta(hours=6))) == ["churn"]
    assert broken({"coverage": 0.0, "churn": 1.0}, ranker="als") == {}


def view_of(n_users: int, n_posts: int, **about: Any) -> View:
    history = make_history(make_tables([(1, 0, 0, "view")], n_users=n_users, n_posts=n_posts, as_of_h=100, **about))
    view = View(history, 100 * 3600)
    view.pool = np.flatnonzero(view.exists)
    return view


def test_rows_count_known_profiles_and_posts_that_may_be_shown() -> None:
    profile = {"age": np.array([20.0, np.nan, np.nan]), "city": np.array(["", "Riga", ""], dtype=object)}
    view = view_of(3, 4, profile=profile, hidden=[False, True, False, False], born_h=[0, 0, 0, 101])
    assert count_rows(view) == {"users": 3, "profiles": 2, "posts": 2, "events": 1}


def test_a_slate_must_hold_all_that_its_user_can_be_shown() -> None:
    view = view_of(3, 4, hidden=[False, True, False, False])  # the pool: posts 0, 2, 3
    acted = ActedOn(np.array([0, 0, 2, 3]), np.array([1, 2, 0]))  # user 1: one of the pool; user 2: one
    assert draw_sample(view, acted, 3).lengths == [3, 2, 2]
    found = draw_sample(view, acted, 2)
    assert (found.user_ids, found.lengths) == (["10", "11", "12"], [2, 2, 2])


def test_a_sample_of_many_users_is_at_equal_distances() -> None:
    view = view_of(5_000, 2)
    sample = draw_sample(view, ActedOn(np.zeros(5_001, dtype=np.int64), np.zeros(0, dtype=np.int64)), 2)
    places = np.array([int(user_id) - 10 for user_id in sample.user_ids])
    assert len(places) == 1_000
    assert set(np.diff(places)) == {5, 6} or set(np.diff(places)) == {5}
    assert (places[0], places[-1]) == (0, 4_999)


def test_short_and_missing_slates_and_lost_users_are_measured_in_redis(redis_client: Redis) -> None:
    before = Generation("before", hours=2, users={str(n): {0: "1 2", 1: "1 2"} for n in range(40)})
    users = {str(n): {0: "1 2", 1: "2 1"} for n in range(20, 60)}
    users["20"], users["21"] = {0: "1", 1: "1 1"}, {0: "1 2"}
    after = Generation("after", hours=2, users=users)
    before.publish(redis_client)
    after.publish(redis_client, live=False)
    live, manifest = manifest_of(before), manifest_of(after)
    view = view_of(50, 2)
    sample = replace(
        draw_sample(view, ActedOn(np.zeros(51, dtype=np.int64), np.zeros(0, dtype=np.int64)), 2),
        user_ids=[str(n) for n in range(20, 60)],
        lengths=[2] * 40,
    )
    rows = {"users": 40, "profiles": 5, "posts": 2, "events": 7}
    found = measure(redis_client, KEYS, live, manifest, rows, sample)
    assert found["whole"] == round(1 - 3 / 80, 4)  # a short slate, one that says a post twice, one that is not there
    assert found["left"] == {"users": 1.0, "same_users": 0.5}  # nothing is known of the other counts
    assert found["compared"] == 20
    live = replace(live, guards={"rows": {"users": 40, "profiles": 10, "posts": 2, "events": 0}})
    again = measure(redis_client, KEYS, live, manifest, rows, sample)
    assert again["left"] == {"users": 1.0, "profiles": 0.5, "posts": 1.0, "same_users": 0.5}
    many = measure(redis_client, KEYS, live, manifest, {**rows, "users": 81}, sample)
    assert "same_users" not in many["left"]
    earlier = replace(manifest, as_of=live.as_of - timedelta(seconds=1))
    assert "against" not in measure(redis_client, KEYS, live, earlier, rows, sample)


def test_a_live_generation_that_is_broken_does_not_keep_a_whole_one_from_going_live(redis_client: Redis) -> None:
    before = Generation("before", hours=1, users={str(n): {0: "1"} for n in range(10, 13)})
    after = Generation("after", hours=1, users={str(n): {0: "1 2"} for n in range(10, 13)})
    before.publish(redis_client)
    after.publish(redis_client, live=False)
    live, manifest = manifest_of(before), manifest_of(after)
    sample = draw_sample(view_of(3, 2), ActedOn(np.zeros(4, dtype=np.int64), np.zeros(0, dtype=np.int64)), 2)
    rows = {"users": 3, "profiles": 0, "posts": 2, "events": 1}
    assert measure(redis_client, KEYS, live, manifest, rows, sample)["overlap"] == 0.5
    for broken_value in ("a string", "1  2"):
        redis_client.delete(KEYS.user("before", "11"))
        if broken_value == "a string":
            redis_client.set(KEYS.user("before", "11"), broken_value)
        else:
            redis_client.hset(KEYS.user("before", "11"), "2021122000", broken_value)
        found = measure(redis_client, KEYS, live, manifest, rows, sample)
        assert found == {"rows": rows, "sample": 3, "whole": 1.0}


class Quiet:
    """Hears a run."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Pass it over."""

    def note(self, told: str) -> None:
        self.notes.append(told)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(None, tmp_path)
    simulate(Parameters(users=60, posts=120, days=2, seed=3, end=AS_OF), engine, SourceSchema(), tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    return BatchSettings(state=tmp_path, hours=3, top_n=6, ranker="item_knn_recency", similar_posts=0)


def halve_the_posts(engine: Engine) -> None:
    with engine.begin() as connection:
        half = "SELECT post_id FROM post_text_df ORDER BY post_id LIMIT 60"
        connection.execute(text(f"DELETE FROM post_text_df WHERE post_id IN ({half})"))


def feed_of(redis: Redis) -> tuple[str, str, list[str]]:
    found = Lookup(redis, KEYS).feed(two_users(redis)[0], bucket_of(AS_OF), 5)
    return found.generation, found.rung, found.post_ids


def two_users(redis: Redis) -> list[str]:
    live = live_generation(redis, KEYS)
    assert live is not None
    return sorted(sample_users(redis, KEYS, live.id, 100))[:2]


def test_a_run_that_lost_half_of_the_posts_is_blocked_and_readers_do_not_notice(
    engine: Engine, settings: BatchSettings, redis_client: Redis
) -> None:
    before = run_batch(settings, engine, redis_client, AS_OF, Quiet())
    again = run_batch(settings, engine, redis_client, AS_OF, Quiet())  # the same once more is let through
    assert (again.guards["overlap"], again.guards["churn"], again.guards["whole"]) == (1.0, 0.0, 1.0)
    assert set(again.guards["left"].values()) == {1.0}
    seen = feed_of(redis_client)
    assert seen[:2] == (again.id, "exact")
    halve_the_posts(engine)
    with pytest.raises(BlockedError, match=r"5\d\.\d% of the posts that may be shown .* `hourfeed release") as refused:
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert live.id == again.id
    assert feed_of(redis_client) == seen
    states = {manifest.id: manifest.state for manifest in list_generations(redis_client, KEYS)}
    blocked = next(name for name, state in states.items() if state == "blocked")
    assert states == {blocked: "blocked", again.id: "live", before.id: "superseded"}
    assert f"generation {blocked} is blocked" in str(refused.value)
    assert f"`hourfeed diff {again.id} {blocked}`" in str(refused.value)
    assert [key for key in redis_client.scan_iter(f"{KEYS.generation(blocked)}*") if redis_client.ttl(key) == -1] == []
    with pytest.raises(NoGenerationError):
        rollback(redis_client, KEYS, blocked)

    with pytest.raises(BlockedError):  # what blocked one run does not keep the next from its turn
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    ids = [manifest.id for manifest in list_generations(redis_client, KEYS) if manifest.state == "blocked"]
    assert len(ids) == 2
    report = Quiet()
    forced = run_batch(settings, engine, redis_client, AS_OF, report, force=True)
    assert (forced.state, forced.guards["broken"], forced.guards["forced"]) == ("live", ["rows"], True)
    assert "though the guard rows says" in report.notes[-1]
    kept = [(manifest.id, manifest.state) for manifest in list_generations(redis_client, KEYS)]
    assert kept == [(forced.id, "live"), (ids[0], "blocked"), (again.id, "superseded")]
    after = run_batch(settings, engine, redis_client, AS_OF, Quiet())
    assert "broken" not in after.guards


def test_a_blocked_generation_can_be_released_and_rolled_back_from(
    engine: Engine, settings: BatchSettings, redis_client: Redis
) -> None:
    before = run_batch(settings, engine, redis_client, AS_OF, Quiet())
    halve_the_posts(engine)
    with pytest.raises(BlockedError):
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    (blocked,) = [manifest.id for manifest in list_generations(redis_client, KEYS) if manifest.state == "blocked"]
    with pytest.raises(NoGenerationError, match=f"Redis holds these: {blocked}"):
        release(redis_client, KEYS, before.id)
    released = release(redis_client, KEYS, blocked)
    assert (released.state, released.previous, released.guards["released"]) == ("live", before.id, True)
    assert live_generation(redis_client, KEYS) == released
    assert feed_of(redis_client)[0] == blocked
    with pytest.raises(NoGenerationError, match="Redis holds these: none"):
        release(redis_client, KEYS, blocked)
    assert rollback(redis_client, KEYS).id == before.id
    assert rollback(redis_client, KEYS, blocked).id == blocked
    following = run_batch(settings, engine, redis_client, AS_OF, Quiet())
    assert following.guards["against"] == blocked
    assert "broken" not in following.guards


def test_a_blocked_generation_holds_nothing_of_a_user_who_was_erased_meanwhile(
    engine: Engine, settings: BatchSettings, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_batch(settings, engine, redis_client, AS_OF, Quiet())
    halve_the_posts(engine)
    erased, other = two_users(redis_client)
    written = GenerationWriter.verify

    def erased_while_it_runs(writer: GenerationWriter, expected_values: int) -> None:
        written(writer, expected_values)
        redis_client.zadd(KEYS.erased, {erased: 1})  # noted after the run has read who was erased

    monkeypatch.setattr(GenerationWriter, "verify", erased_while_it_runs)
    with pytest.raises(BlockedError):
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    (blocked,) = [manifest.id for manifest in list_generations(redis_client, KEYS) if manifest.state == "blocked"]
    assert redis_client.exists(KEYS.user(blocked, other))
    assert not redis_client.exists(KEYS.user(blocked, erased))


def test_a_blocked_generation_takes_no_place_that_a_served_one_needs(
    engine: Engine, settings: BatchSettings, redis_client: Redis
) -> None:
    for _ in range(2):
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    halve_the_posts(engine)
    with pytest.raises(BlockedError):
        run_batch(settings, engine, redis_client, AS_OF, Quiet())
    users = [str(number) for number in range(1_000)]
    assert retire(redis_client, KEYS, keep=3, user_ids=users, segments=[]) == []
    (gone,) = retire(redis_client, KEYS, keep=2, user_ids=users, segments=[])
    assert gone.endswith("-3")
    assert [manifest.state for manifest in list_generations(redis_client, KEYS)] == ["live", "superseded"]
