"""The simulated users and posts: what their tables show, and what is hidden behind (segment, group, activity)."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from demo.parameters import POSTS, TEXTS, USERS, Parameters
from demo.places import COUNTRIES, cities_by_country
from demo.texts import write_text

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

SEGMENTS = ("A", "B", "C")
GROUPS = ("everyday", "talked_about", "arena", "insider")
TOPICS = {
    "business": 510,
    "entertainment": 386,
    "politics": 417,
    "sport": 510,
    "tech": 401,
    "covid": 1_799,
    "movie": 3_000,
}
"""Posts of each topic in the course's feed, in the order of their ids."""

GROUP_SHARES = {
    "business": (0.18, 0.08, 0.00, 0.74),
    "entertainment": (0.18, 0.10, 0.00, 0.72),
    "politics": (0.12, 0.14, 0.62, 0.12),
    "sport": (0.10, 0.10, 0.66, 0.14),
    "tech": (0.72, 0.12, 0.00, 0.16),
    "covid": (0.72, 0.20, 0.00, 0.08),
    "movie": (0.82, 0.16, 0.00, 0.02),
}
"""Share of a topic's posts that is in each of GROUPS."""

_FIRST_USER_ID = 200
_USER_ID_GAPS = 0.033
_POST_ID_GAPS = 0.042
_AGES = (14, 18, 23, 28, 35, 45, 60, 96)
_AGE_QUANTILES = (0.0, 0.12, 0.42, 0.70, 0.85, 0.945, 0.99, 1.0)
_GENDER_1 = 89_980 / 163_205
_ANDROID = 105_972 / 163_205
_ADS = 101_685 / 163_205
_THERE_FROM_THE_START = 0.6
_LAST_TO_JOIN = 0.9
_PUBLISHED_BEFORE = 0.5
_BEFORE_IN_LOGS = 1.5
_GROWTH_OF_POSTS = 0.6


@dataclass(frozen=True)
class Users:
    """One entry a user, by ascending id. `joined_day` counts from the log's first calendar day.

    `segment` is the place in SEGMENTS; `active_share` the probability of a session on a day; a `cold` user has none.
    """

    user_id: Ints
    gender: Ints
    age: Ints
    country: npt.NDArray[np.object_]
    city: npt.NDArray[np.object_]
    exp_group: Ints
    os: npt.NDArray[np.object_]
    source: npt.NDArray[np.object_]
    segment: Ints
    joined_day: Ints
    active_share: Floats
    cold: npt.NDArray[np.bool_]

    def frame(self) -> pd.DataFrame:
        """Return the table of profiles."""
        columns = ("user_id", "gender", "age", "country", "city", "exp_group", "os", "source")
        return pd.DataFrame({name: getattr(self, name) for name in columns})


@dataclass(frozen=True)
class Posts:
    """One entry a post, by ascending id. `topic` is the place in TOPICS, `group` in GROUPS, times since 1970."""

    post_id: Ints
    topic: Ints
    group: Ints
    published_s: Ints

    def frame(self, parameters: Parameters) -> pd.DataFrame:
        """Return the table of posts, with `published_at` where the parameters ask for it."""
        topics = np.array(list(TOPICS), dtype=object)[self.topic]
        seeds = parameters.stream(TEXTS).integers(0, 2**62, self.post_id.size)
        texts = [
            write_text(int(seed), topic, GROUPS[group])
            for seed, topic, group in zip(seeds, topics, self.group, strict=True)
        ]
        frame = pd.DataFrame({"post_id": self.post_id, "text": texts, "topic": topics})
        if parameters.published_at:
            frame["published_at"] = self.published_s.astype("datetime64[s]")
        return frame


def segment_of(age: Ints) -> Ints:
    """Return the segment of each age: B from 23 to 27, C from 28 to 34, A the younger and the older ones.

    Of the ways to give four bands of age to three segments, this one has the course's shares and its median of 24.
    """
    return np.where((age >= 23) & (age < 28), 1, np.where((age >= 28) & (age < 35), 2, 0)).astype(np.int64)


def make_users(parameters: Parameters) -> Users:
    """Draw the users."""
    rng, n = parameters.stream(USERS), parameters.users
    # One age from each 1/n of the distribution: segments keep their shares in small networks too.
    age = np.interp((rng.permutation(n) + rng.random(n)) / n, _AGE_QUANTILES, _AGES).astype(np.int64)
    counts = np.array(list(COUNTRIES.values()), dtype=np.float64)
    country = rng.choice(counts.size, n, p=counts / counts.sum())
    calendar_days = parameters.last_day - parameters.first_day + 1
    late = rng.random(n) >= _THERE_FROM_THE_START
    return Users(
        user_id=_FIRST_USER_ID + np.cumsum(1 + (rng.random(n) < _USER_ID_GAPS)),
        gender=(rng.random(n) < _GENDER_1).astype(np.int64),
        age=age,
        country=np.array(list(COUNTRIES), dtype=object)[country],
        city=_cities(rng, country),
        exp_group=rng.integers(0, 5, n),
        os=np.where(rng.random(n) < _ANDROID, "Android", "iOS").astype(object),
        source=np.where(rng.random(n) < _ADS, "ads", "organic").astype(object),
        segment=segment_of(age),
        joined_day=np.where(late, rng.random(n) * _LAST_TO_JOIN * calendar_days, 0).astype(np.int64),
        active_share=np.clip(parameters.activity * rng.gamma(4.0, 0.25, n), 0.01, 1.0),
        cold=rng.permutation(n) < round(parameters.cold_share * n),
    )


def make_posts(parameters: Parameters) -> Posts:
    """Draw the posts; the first post of each group is published before the log starts, so that none is ever empty."""
    rng, n = parameters.stream(POSTS), parameters.posts
    topic = np.repeat(np.arange(len(TOPICS)), _quota(np.array(list(TOPICS.values()), dtype=np.float64), n))
    group = np.empty(n, dtype=np.int64)
    for index, name in enumerate(TOPICS):
        of_topic = np.flatnonzero(topic == index)
        group[of_topic] = rng.permutation(
            np.repeat(np.arange(len(GROUPS)), _quota(np.array(GROUP_SHARES[name]), of_topic.size))
        )
    published_s = _published(rng, parameters)
    for index in range(len(GROUPS)):
        of_group = np.flatnonzero(group == index)
        if of_group.size and published_s[of_group].min() >= parameters.start_s:
            published_s[of_group[0]] = parameters.start_s - 3_600
    return Posts(np.cumsum(1 + (rng.random(n) < _POST_ID_GAPS)), topic, group, published_s)


def _cities(rng: np.random.Generator, country: Ints) -> npt.NDArray[np.object_]:
    city = np.empty(country.size, dtype=object)
    for index, (names, shares) in enumerate(cities_by_country()):
        living = np.flatnonzero(country == index)
        city[living] = names[rng.choice(names.size, living.size, p=shares)]
    return city


def _published(rng: np.random.Generator, parameters: Parameters) -> Ints:
    """Return when each post appears: half of them evenly before the log, the others ever faster over it."""
    n, length_s = parameters.posts, parameters.days * 86_400
    before = parameters.start_s - 1 - rng.random(n) * _BEFORE_IN_LOGS * length_s
    # A rate that grows from 1 - g/2 to 1 + g/2 over the log: the inverse of its integral.
    slow, growth = 1 - _GROWTH_OF_POSTS / 2, _GROWTH_OF_POSTS
    part = (np.sqrt(slow**2 + 2 * growth * rng.random(n)) - slow) / growth
    old = rng.permutation(n) < round(_PUBLISHED_BEFORE * n)
    return np.where(old, before, parameters.start_s + part * length_s).astype(np.int64)


def _quota(shares: Floats, n: int) -> Ints:
    """Return whole numbers in the proportion of `shares` that add up to n; the largest remainders are rounded up."""
    exact = shares / shares.sum() * n
    counts: Ints = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts
