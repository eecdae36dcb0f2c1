"""The guards before the flip: whether what was written is whole, and near enough to what is live, to be served.

They measure a sample of users as Redis holds them, and compare counts with the live generation's. Limits are settings
(`guard_…`); what ordinary runs measure stands in docs/decisions/0029-guards.md.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from redis import Redis

from batch.alike import PLACES
from batch.baselines import POST_BASELINES
from batch.errors import BlockedError
from batch.features.view import View
from batch.settings import BatchSettings
from batch.slate import ActedOn
from batch.tables import HOUR_S, Users, is_number
from slates.diff import Difference, compare
from slates.errors import CodecError
from slates.experiment import CANARY
from slates.keys import Keys
from slates.manifest import Manifest
from slates.whole import read_list_of_posts, read_users

SAMPLE = 1_000
"""Users whose slates are looked at: a share of them is then known within 3 %."""
_AT_ONCE = 100
_FEWEST = 20
"""Users, or rows of a kind: of fewer a share tells nothing."""
_MANY_MORE = 2
_NEAR_S = 6 * HOUR_S
"""Churn is judged between runs so near to each other: what is served changes with the hours anyway."""


_WORDS = {
    "users": "users",
    "same_users": "very users",
    "profiles": "users with a profile",
    "posts": "posts that may be shown",
    "events": "events",
}


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """Some users as a run expects to find them: ids, and how many posts each of their slates must have."""

    user_ids: Sequence[str]
    lengths: Sequence[int]


def draw_sample(view: View, acted: ActedOn, top_n: int) -> Sample:
    """Return users at equal distances. A slate is `top_n` posts long, or all that the user can be shown."""
    ids = view.history.tables.users.ids
    users = np.unique(np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64))
    lengths = []
    for user in users:
        of_user = acted.post[acted.begin[user] : acted.begin[user + 1]]
        lengths.append(min(top_n, len(view.pool) - int((view.place[of_user] >= 0).sum())))
    return Sample([str(user_id) for user_id in ids[users]], lengths)


def count_rows(view: View) -> dict[str, int]:
    """Count what a run goes by: users, those with a known profile, posts that may be shown, events."""
    tables = view.history.tables
    return {
        "users": len(tables.users.ids),
        "profiles": _with_profile(tables.users),
        "posts": int(view.exists.sum()),
        "events": len(tables.events.at_s),
    }


def _with_profile(users: Users) -> int:
    known = np.zeros(len(users.ids), dtype=bool)
    for column in users.profile.values():
        known |= ~np.isnan(column) if is_number(column) else column.astype(bool)
    return int(known.sum())


def measure(
    redis: Redis, keys: Keys, live: Manifest | None, manifest: Manifest, rows: Mapping[str, int], sample: Sample
) -> dict[str, Any]:
    """Return the field `guards` of a manifest (docs/redis.md): shares with four decimals.

    live : what the generation is compared with; a run as of an earlier moment is compared with nothing, since it is
    meant to know less.
    """
    found: dict[str, Any] = {"rows": dict(rows), "sample": len(sample.user_ids)}
    found["whole"] = _share_whole(redis, keys, manifest, sample)
    if live is None or live.as_of > manifest.as_of:
        return found
    try:
        apart = compare(redis, keys, live, manifest, sample.user_ids)
    except CodecError as error:  # what is live is broken: all the more a reason to publish
        _log.warning("nothing is compared with generation %s: %s", live.id, error)
        return found
    found |= {"against": live.id, "left": _left(rows, _rows_of(live), apart), "compared": apart.users}
    if apart.overlap is not None:
        found |= {"overlap": apart.overlap, "churn": apart.churn, "order": apart.order, "top_share": apart.top_after}
        found["coverage"] = round(apart.posts_after / max(1, apart.posts_before), 4)
    return found


def _rows_of(live: Manifest) -> Mapping[str, int]:
    counted: Mapping[str, int] = live.guards.get("rows", {})
    return {"users": live.users, "events": live.events} | dict(counted)


def _left(rows: Mapping[str, int], before: Mapping[str, int], apart: Difference) -> dict[str, float]:
    """Return how much of the live generation is left, by what is counted.

    `same_users` are those of the live generation that are still known; a sample tells that where they are not many
    more now.
    """
    left = {name: round(count / before[name], 4) for name, count in rows.items() if before.get(name)}
    asked, n_before, n_now = apart.users + apart.only_after, before["users"], rows["users"]
    if asked >= _FEWEST and 0 < n_now <= _MANY_MORE * n_before:
        left["same_users"] = round(apart.users / asked * n_now / n_before, 4)
    return left


def _share_whole(redis: Redis, keys: Keys, manifest: Manifest, sample: Sample) -> float:
    posts = read_list_of_posts(redis, keys, manifest)
    whole = 0
    for begin in range(0, len(sample.user_ids), _AT_ONCE):
        of_users = read_users(redis, keys, manifest, posts, sample.user_ids[begin : begin + _AT_ONCE])
        for slates, length in zip(of_users, sample.lengths[begin : begin + _AT_ONCE], strict=True):
            whole += sum(len(set(slate)) >= length for slate in (slates or {}).values())
    return round(whole / max(1, len(sample.user_ids) * manifest.hours), 4)


def broken_guards(
    settings: BatchSettings, live: Manifest | None, manifest: Manifest, *, chosen_by_gate: bool
) -> dict[str, str]:
    """Return what keeps a generation from going live: the guard's name, and a sentence with value and limit.

    chosen_by_gate : the ranker is a baseline that won on real cases, so it may give everybody the same.
    """
    return dict(_broken(settings, live, manifest, chosen_by_gate=chosen_by_gate))


def _broken(
    settings: BatchSettings, live: Manifest | None, manifest: Manifest, *, chosen_by_gate: bool
) -> Iterator[tuple[str, str]]:
    found, alike = manifest.guards, manifest.alike
    if found["whole"] < settings.guard_whole:
        said = f"{1 - found['whole']:.1%} of the slates hold fewer posts than they could"
        yield "whole", f"{said} (at most {1 - settings.guard_whole:.1%} may)"
    personal = manifest.ranker not in POST_BASELINES and not chosen_by_gate
    if personal and alike is not None and alike > settings.guard_alike:
        said = f"{alike:.1%} of the users with a history would get the same {PLACES} posts from the ranker"
        yield "alike", f"{said} {manifest.ranker} (at most {settings.guard_alike:.0%} may)"
    if live is None or "against" not in found:
        return
    before = _rows_of(live)
    lost = {
        name: share
        for name, share in found["left"].items()
        if share < settings.guard_rows and before.get(name, before["users"]) >= _FEWEST
    }
    if lost:
        said = " and ".join(f"{share:.1%} of the {_WORDS[name]}" for name, share in lost.items())
        yield "rows", f"{said} of the live generation are left (at least {settings.guard_rows:.0%} must be)"
    if found["compared"] < _FEWEST or "churn" not in found or manifest.ranker != live.ranker:
        return  # another ranker is meant to show other posts
    near = (manifest.as_of - live.as_of).total_seconds() <= _NEAR_S
    if near and found["churn"] > settings.guard_churn:
        said = f"{found['churn']:.1%} of the slates begin with five posts none of which are among the first five now"
        yield "churn", f"{said} (at most {settings.guard_churn:.0%} may)"
    if found["coverage"] < settings.guard_coverage:
        said = f"{found['coverage']:.1%} as many different posts are shown as in the live generation"
        yield "coverage", f"{said} (at least {settings.guard_coverage:.0%} must be)"


def refusal(generation: str, live: Manifest | None, broken: Mapping[str, str], arm: str | None = None) -> BlockedError:
    """Return the error that ends a run whose generation is blocked."""
    look = f"`hourfeed diff {live.id} {generation}`" if live else "`hourfeed status`"
    settings = ", ".join(f"guard_{name}" for name in broken)
    of_arm = f" --arm {arm}" if arm else ""
    # A canary begins with its share of the users, which release does not know.
    serve = "" if arm == CANARY else f"serve it with `hourfeed release {generation}{of_arm}`, "
    again = " --canary SHARE" if arm == CANARY else of_arm
    return BlockedError(
        f"generation {generation} is blocked, and what was live stays: {'; '.join(broken.values())}. Look at it with "
        f"{look}, {serve}publish whatever a run makes with `hourfeed batch{again} --force`, or change the limits: "
        f"{settings}"
    )
