from datetime import UTC, datetime

import pytest
from fakeredis import FakeRedis
from published import FIRST, Generation

from slates.arms import ArmsLookup
from slates.canary import promote, refuse_beside_experiment, start_canary
from slates.errors import NoGenerationError
from slates.experiment import Experiment, ExperimentError, keys_of_arm, start_experiment, stop_experiment
from slates.generations import list_generations, live_generation, rollback
from slates.keys import Keys
from slates.lookup import Lookup

KEYS = Keys()
CANARY = keys_of_arm(KEYS, "canary")
USERS = [str(number) for number in range(200)]


def generation(name: str) -> Generation:
    return Generation(id=name, users={user: {12: f"{name}.1"} for user in USERS}, popular={12: f"{name}.1"})


@pytest.fixture
def redis() -> FakeRedis:
    redis = FakeRedis()
    generation("old").publish(redis)
    generation("new").publish(redis, CANARY)
    return redis


@pytest.fixture
def arms(redis: FakeRedis) -> ArmsLookup:
    return ArmsLookup(redis, KEYS, Lookup(redis, KEYS))


def shares(arms: ArmsLookup) -> dict[str, int]:
    found = [arms.feed(user, FIRST + 12, 1).feed.generation for user in USERS]
    return {name: found.count(name) for name in sorted(set(found))}


def test_a_share_of_the_users_gets_the_canary_until_all_do(redis: FakeRedis, arms: ArmsLookup) -> None:
    assert shares(arms) == {"old": 200}
    start_canary(redis, KEYS, 0.2)
    assert 20 <= shares(arms)["new"] <= 60
    assert (live_generation(redis, KEYS) or generation("none")).id == "old"
    promoted = promote(redis, KEYS)
    assert (promoted.id, promoted.state, promoted.previous) == ("new", "live", "old")
    assert shares(arms) == {"new": 200}
    assert {one.id: one.state for one in list_generations(redis, KEYS)} == {"new": "live", "old": "superseded"}
    assert not redis.exists(CANARY.current, CANARY.generations, KEYS.experiment)
    assert rollback(redis, KEYS).id == "old"
    assert shares(arms) == {"old": 200}


def test_a_canary_can_be_ended_and_another_one_takes_its_place(redis: FakeRedis, arms: ArmsLookup) -> None:
    start_canary(redis, KEYS, 0.2)
    generation("newer").publish(redis, CANARY)
    start_canary(redis, KEYS, 0.5)
    assert shares(arms).keys() == {"old", "newer"}
    stop_experiment(redis, KEYS)
    assert shares(arms) == {"old": 200}
    with pytest.raises(NoGenerationError, match="no canary runs"):
        promote(redis, KEYS)


def test_no_canary_runs_beside_an_experiment_or_nothing(redis: FakeRedis) -> None:
    generation("t").publish(redis, keys_of_arm(KEYS, "test"))
    halves = Experiment("a", "a", {"control": 0.5, "test": 0.5}, datetime.now(UTC))
    start_experiment(redis, KEYS, halves)
    with pytest.raises(ExperimentError, match="the experiment a runs"):
        start_canary(redis, KEYS, 0.1)
    with pytest.raises(ExperimentError, match="the experiment a runs"):
        refuse_beside_experiment(redis, KEYS)
    stop_experiment(redis, KEYS)
    redis.delete(KEYS.current)
    with pytest.raises(ExperimentError, match="no generation is live for the other users"):
        start_canary(redis, KEYS, 0.1)
