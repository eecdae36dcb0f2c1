"""What decides on a like: the figures of the course's log, turned into an oracle for one simulated network."""

from dataclasses import replace

import numpy as np

from demo.exposure import Exposure
from demo.network import GROUPS, SEGMENTS, TOPICS, Floats, Ints, Posts, Users
from demo.oracle import Oracle
from demo.parameters import Parameters

CELL_RATES = np.array([[0.074, 0.148, 0.155, 0.074], [0.119, 0.138, 0.126, 0.162], [0.200, 0.185, 0.079, 0.182]])
"""Like rate by segment (rows A, B, C) and post group (columns everyday, talked_about, arena, insider)."""

MEAN_RATE = 0.1195
EXP_GROUP_RATES = np.array([0.099, 0.143, 0.142, 0.099, 0.114])
GENDER_RATES = np.array([0.111, 0.125])
UKRAINE_RATE, RUSSIA_RATE = 0.161, 0.114
THIRD_RATES = np.array([0.094, 0.125, 0.140])
"""Like rate in the three months of the course's log; here in the three thirds of a log of any length."""

HOUR_RATES = np.array(
    [0.120] * 6
    + [0.137, 0.115, 0.112, 0.110, 0.107, 0.105, 0.102, 0.100, 0.100, 0.102, 0.105, 0.110, 0.115]
    + [0.142, 0.148, 0.150, 0.145, 0.140]
)
"""Like rate by hour of day in UTC; nobody is there from 0 to 5."""

USER_SPREAD = 0.35
TASTE_SPREAD = 0.45
POST_SPREAD = 0.20
_FRESH_LOGIT = 0.3
_SAMPLE = 20_000
_NEWTON_STEPS = 30


def _logit(rate: Floats | float) -> Floats:
    return np.asarray(np.log(rate) - np.log1p(-np.asarray(rate)))


def make_oracle(
    users: Users, posts: Posts, exposure: Exposure, parameters: Parameters, rng: np.random.Generator
) -> Oracle:
    """Draw the personal tastes, and set the twelve cells so that what is shown is liked at the rates of CELL_RATES."""
    length_s = parameters.end_s - parameters.start_s
    oracle = Oracle(
        user_ids=users.user_id,
        user_segment=users.segment,
        user_logit=profile_logit(users) + rng.normal(0, USER_SPREAD, users.user_id.size),
        user_taste=rng.normal(0, TASTE_SPREAD, (users.user_id.size, len(TOPICS))),
        post_ids=posts.post_id,
        post_group=posts.group,
        post_topic=posts.topic,
        post_logit=rng.normal(0, POST_SPREAD, posts.post_id.size),
        published_s=posts.published_s,
        cell_logit=np.zeros((len(SEGMENTS), len(GROUPS))),
        hour_logit=_logit(HOUR_RATES) - _logit(MEAN_RATE),
        growth_s=parameters.start_s + np.array([length_s // 6, length_s // 2, length_s * 5 // 6]),
        growth_logit=_logit(THIRD_RATES) - _logit(MEAN_RATE),
        fresh_logit=np.asarray(_FRESH_LOGIT),
        half_life_d=np.asarray(parameters.half_life_d),
    )
    return replace(oracle, cell_logit=_calibrated_cells(oracle, users, exposure, parameters, rng))


def profile_logit(users: Users) -> Floats:
    """Return what country, experiment group and gender add to each user's log-odds."""
    base = _logit(MEAN_RATE)
    by_country = np.where(users.country == "Ukraine", _logit(UKRAINE_RATE), _logit(RUSSIA_RATE)) - _logit(RUSSIA_RATE)
    by_group = _logit(EXP_GROUP_RATES)[users.exp_group] - base
    return np.asarray(by_country + by_group + _logit(GENDER_RATES)[users.gender] - base)


def _calibrated_cells(
    oracle: Oracle, users: Users, exposure: Exposure, parameters: Parameters, rng: np.random.Generator
) -> Floats:
    """Find each cell's log-odds on a sample of what the segment is shown of the group."""
    cells = np.zeros(CELL_RATES.shape)
    for segment in range(len(SEGMENTS)):
        viewers = _viewers(rng, users, segment, parameters)
        if viewers is None:
            continue
        user, bucket = viewers
        for group in np.unique(oracle.post_group):
            post = exposure.draw_in_group(rng, np.full(_SAMPLE, group), bucket * 3_600)
            cells[segment, group] = _offset(oracle.logit_without_cell(user, post, bucket), CELL_RATES[segment, group])
    return cells


def _viewers(rng: np.random.Generator, users: Users, segment: int, parameters: Parameters) -> tuple[Ints, Ints] | None:
    """Sample users of a segment and the hours they are there; None where nobody of the segment ever is."""
    days = parameters.last_day - parameters.first_day + 1
    weight = np.where((users.segment == segment) & ~users.cold, users.active_share * (days - users.joined_day), 0.0)
    if not weight.any():
        return None
    user = rng.choice(weight.size, _SAMPLE, p=weight / weight.sum())
    day = users.joined_day[user] + rng.random(_SAMPLE) * (days - users.joined_day[user])
    bucket = (parameters.first_day + day.astype(np.int64)) * 24 + 6 + (rng.random(_SAMPLE) * 17.7).astype(np.int64)
    return user, np.clip(bucket, -(-parameters.start_s // 3_600), parameters.end_s // 3_600 - 1)


def _offset(logit: Floats, rate: float) -> float:
    """Return c such that the mean of 1 / (1 + exp(-(logit + c))) is `rate`."""
    offset = float(_logit(rate))
    for _ in range(_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-(logit + offset)))
        offset -= (probability.mean() - rate) / (probability * (1 - probability)).mean()
    return offset
