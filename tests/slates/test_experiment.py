from collections import Counter
from datetime import UTC, datetime

import pytest
from fakeredis import FakeRedis
from published import FIRST, Generation
from trips import round_trips

from slates.arms import ArmsLookup
from slates.errors import CodecError
from slates.experiment import (
    Experiment,
    ExperimentError,
    decode_experiment,
    encode_experiment,
    keys_of_arm,
    running_experiment,
    start_experiment,
    stop_experiment,
)
from slates.feed import NoFeedError
from slates.keys import Keys
from slates.lookup import Lookup

KEYS = Keys()
TEST = keys_of_arm(KEYS, "test")
AT = datetime(2021, 12, 20, 15, tzinfo=UTC)
HALVES = Experiment("fresher", "salt", {"control": 0.5, "test": 0.5}, AT)
USERS = [str(number) for number in range(40)]
OF_CONTROL = Generation(id="c", users={user: {12: "1 2"} for user in USERS}, popular={12: "1"})
OF_TEST = Generation(id="t", users={user: {12: "3 4"} for user in USERS}, popular={12: "3"})


@pytest.fixture
def redis() -> FakeRedis:
    redis = FakeRedis()
    OF_CONTROL.publish(redis)
    OF_TEST.publish(redis, TEST)
    return redis


@pytest.fixture
def arms(redis: FakeRedis) -> ArmsLookup:
    return ArmsLookup(redis, KEYS, Lookup(redis, KEYS))


def test_an_experiment_is_read_as_it_was_written() -> None:
    assert decode_experiment(encode_experiment(HALVES)) == HALVES
    for broken in (
        b"",
        b"{}",
        b"[]",
        b'{"name":"a","salt":"","arms":{"control":1},"started_at":"2021-12-20T15:00:00Z"}',
    ):
        with pytest.raises(CodecError):
            decode_experiment(broken)


@pytest.mark.parametrize(
    ("name", "shares", "why"),
    [
        ("A b", {"control": 0.5, "test": 0.5}, "is no name"),
        ("a", {"control": 0.5, "x:y": 0.5}, "is no name"),
        ("a", {"test": 0.5, "other": 0.5}, "compares the arm control"),
        ("a", {"control": 1.0}, "compares the arm control"),
        ("a", {"control": 0.5, "test": 0.4}, "sum up to 1"),
        ("a", {"control": 1.5, "test": -0.5}, "above 0"),
    ],
)
def test_what_cannot_be_an_experiment_is_refused(name: str, shares: dict[str, float], why: str) -> None:
    with pytest.raises(ExperimentError, match=why):
        Experiment(name, "salt", shares, AT)


def test_users_keep_their_arm_and_arms_get_their_shares() -> None:
    experiment = Experiment("a", "salt", {"control": 0.7, "b": 0.2, "c": 0.1}, AT)
    counts = Counter(experiment.arm_of(str(user)) for user in range(20_000))
    for arm, share in experiment.shares.items():
        assert abs(counts[arm] - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5
    assert experiment.arm_of("7") == Experiment("b", "salt", experiment.shares, AT).arm_of("7")
    other = Experiment("a", "pepper", experiment.shares, AT)
    assert any(experiment.arm_of(user) != other.arm_of(user) for user in USERS)


def test_each_user_gets_the_feed_of_the_arm(redis: FakeRedis, arms: ArmsLookup) -> None:
    assert {arms.feed(user, FIRST + 12, 2).feed.generation for user in USERS} == {"c"}
    start_experiment(redis, KEYS, HALVES)
    for user in USERS:
        feed, experiment, arm = arms.feed(user, FIRST + 12, 2)
        assert (experiment, arm) == (HALVES, HALVES.arm_of(user))
        assert (feed.generation, feed.post_ids) == (("t", ["3", "4"]) if arm == "test" else ("c", ["1", "2"]))
    assert stop_experiment(redis, KEYS) == HALVES
    for user in USERS:  # from the first look-up on
        served = arms.feed(user, FIRST + 12, 2)
        assert (served.feed.generation, served.experiment) == ("c", None)


def test_an_arm_costs_no_round_trip(redis: FakeRedis, arms: ArmsLookup) -> None:
    start_experiment(redis, KEYS, HALVES)
    for user in USERS:
        arms.feed(user, FIRST + 12, 2)
    with round_trips(redis) as trips:
        assert {arms.feed(user, FIRST + 12, 2).arm for user in USERS} == {"control", "test"}
    assert len(trips) == len(USERS)


def test_users_of_an_arm_that_is_gone_get_what_everybody_gets(redis: FakeRedis, arms: ArmsLookup) -> None:
    start_experiment(redis, KEYS, HALVES)
    redis.delete(TEST.current)
    of_test = next(user for user in USERS if HALVES.arm_of(user) == "test")
    feed, experiment, arm = arms.feed(of_test, FIRST + 12, 2)
    assert (feed.generation, experiment, arm) == ("c", HALVES, None)
    redis.delete(KEYS.current)
    with pytest.raises(NoFeedError):
        ArmsLookup(redis, KEYS, Lookup(redis, KEYS)).feed(of_test, FIRST + 12, 2)


def test_an_experiment_that_cannot_be_read_does_not_run(redis: FakeRedis, arms: ArmsLookup) -> None:
    redis.set(KEYS.experiment, "broken")
    assert arms.feed("7", FIRST + 12, 2)[1:] == (None, None)


def test_one_experiment_runs_at_a_time_and_only_with_generations(redis: FakeRedis) -> None:
    with pytest.raises(ExperimentError, match=r"the arm other has no live generation; .*`hourfeed batch --arm other`"):
        start_experiment(redis, KEYS, Experiment("a", "", {"control": 0.5, "other": 0.5}, AT))
    with pytest.raises(ExperimentError, match="no experiment runs"):
        stop_experiment(redis, KEYS)
    start_experiment(redis, KEYS, HALVES)
    with pytest.raises(ExperimentError, match="the experiment fresher runs; end it"):
        start_experiment(redis, KEYS, Experiment("b", "", {"control": 0.5, "test": 0.5}, AT))
    assert running_experiment(redis, KEYS) == HALVES
