"""How two generations differ, on the same users and hours: what `hourfeed diff` prints, and what guards go by.

Users are read some at a time, so that memory does not grow with their number.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from redis import Redis

from slates.batches import batches
from slates.bucket import bucket_name
from slates.keys import Keys
from slates.manifest import Manifest
from slates.whole import AllSlates, read_list_of_posts, read_users

FIRST = 5
"""The posts of a slate that people see first; churn goes by them."""
TOP = 10
"""So many of the posts that are shown most say how concentrated the slates are."""
_MOVERS = 10
_USERS = 100
_TENTHS = 10
_FEWEST_SHARED = 3
"""Posts that two slates must share for their order to say something."""


@dataclass(frozen=True)
class Moved:
    """A post, and the share of slates that had it among the first five, before and after."""

    post_id: str
    before: float
    after: float


@dataclass(frozen=True)
class Difference:
    """What became of the slates of `users` users, whom both generations know, in the `hours` buckets that both have.

    only_before, only_after : users of those asked for whom only one of the two knows.
    overlap : mean share of a slate's posts that are in the other slate, whatever their places.
    churn : share of slates of whose first five posts none is among the other's first five.
    order : mean of Spearman's rank correlation of the posts that two slates share, -1 to 1; scores are not kept.
    posts_before, posts_after : different posts in those slates; top_before, top_after : share of all places that the
    ten posts shown most take. overlap_by_bucket, churn_by_bucket : by the bucket's name.
    overlap_by_user : how many users have a mean overlap in each tenth, from 0 on. risen, fallen : posts.
    None where there is nothing to compare.
    """

    before: str
    after: str
    users: int
    only_before: int
    only_after: int
    hours: int
    overlap: float | None
    churn: float | None
    order: float | None
    posts_before: int
    posts_after: int
    top_before: float | None
    top_after: float | None
    overlap_by_bucket: Mapping[str, float]
    churn_by_bucket: Mapping[str, float]
    overlap_by_user: Sequence[int]
    risen: Sequence[Moved]
    fallen: Sequence[Moved]

    def as_told(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def compare(redis: Redis, keys: Keys, before: Manifest, after: Manifest, user_ids: Iterable[str]) -> Difference:
    """Compare two generations on some users. Raises CodecError where Redis holds something else than slates."""
    posts_before, posts_after = (read_list_of_posts(redis, keys, manifest) for manifest in (before, after))
    sums = _Sums(min(before.top_n, after.top_n))
    first, last = max(before.first_bucket, after.first_bucket), min(before.last_bucket, after.last_bucket)
    buckets = range(first, last + 1)
    for chunk in batches(user_ids, _USERS):
        old = read_users(redis, keys, before, posts_before, chunk)
        new = read_users(redis, keys, after, posts_after, chunk)
        for was, now in zip(old, new, strict=True):
            sums.add(was, now, buckets)
    return sums.told(before.id, after.id, buckets)


@dataclass
class _OfBucket:
    slates: int = 0
    overlap: float = 0.0
    churned: int = 0


@dataclass
class _Sums:
    """Adds up user after user; slates are cut to `top_n` posts, which both generations have."""

    top_n: int
    users: int = 0
    only_before: int = 0
    only_after: int = 0
    by_bucket: dict[int, _OfBucket] = field(default_factory=dict)
    order: float = 0.0
    ordered: int = 0
    tenths: list[int] = field(default_factory=lambda: [0] * _TENTHS)
    shown: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    first: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    def add(self, was: AllSlates | None, now: AllSlates | None, buckets: range) -> None:
        if was is None or now is None:
            self.only_before += was is not None
            self.only_after += now is not None
            return
        self.users += 1
        overlaps = []
        for bucket in buckets:
            pair = was.get(bucket, [])[: self.top_n], now.get(bucket, [])[: self.top_n]
            for slate, shown, first in zip(pair, self.shown, self.first, strict=True):
                shown.update(slate)
                first.update(slate[:FIRST])
            if any(pair):
                overlaps.append(self._add_pair(*pair, self.by_bucket.setdefault(bucket, _OfBucket())))
        if overlaps:
            mean = sum(overlaps) / len(overlaps)
            self.tenths[min(int(mean * _TENTHS + 1e-9), _TENTHS - 1)] += 1

    def _add_pair(self, was: list[str], now: list[str], sums: _OfBucket) -> float:
        place = {post_id: at for at, post_id in enumerate(was)}
        shared = [place[post_id] for post_id in now if post_id in place]
        overlap = len(shared) / max(len(was), len(now))
        sums.slates += 1
        sums.overlap += overlap
        sums.churned += not set(was[:FIRST]) & set(now[:FIRST])
        if len(shared) >= _FEWEST_SHARED:
            self.order += _spearman(shared)
            self.ordered += 1
        return overlap

    def told(self, before: str, after: str, buckets: range) -> Difference:
        by_bucket = {bucket_name(bucket): self.by_bucket[bucket] for bucket in buckets if bucket in self.by_bucket}
        slates = sum(sums.slates for sums in by_bucket.values())
        moved = self._moved(slates)
        return Difference(
            before,
            after,
            self.users,
            self.only_before,
            self.only_after,
            len(buckets),
            _rounded(sum(sums.overlap for sums in by_bucket.values()), slates),
            _rounded(sum(sums.churned for sums in by_bucket.values()), slates),
            _rounded(self.order, self.ordered),
            len(self.shown[0]),
            len(self.shown[1]),
            _share_of_top(self.shown[0]),
            _share_of_top(self.shown[1]),
            {name: round(sums.overlap / sums.slates, 4) for name, sums in by_bucket.items()},
            {name: round(sums.churned / sums.slates, 4) for name, sums in by_bucket.items()},
            self.tenths,
            [post for post in moved if post.after > post.before][:_MOVERS],
            [post for post in reversed(moved) if post.after < post.before][:_MOVERS],
        )

    def _moved(self, slates: int) -> list[Moved]:
        """Return the posts from the one that rose most to the one that fell most."""
        was, now = self.first
        found = [
            Moved(post_id, round(was[post_id] / slates, 4), round(now[post_id] / slates, 4))
            for post_id in was.keys() | now.keys()
        ]
        return sorted(found, key=lambda post: (post.before - post.after, post.post_id))


def _spearman(places: Sequence[int]) -> float:
    """Return Spearman's rank correlation of the order of `places` (all different, two or more) with rising order."""
    rank = {place: at for at, place in enumerate(sorted(places))}
    n = len(places)
    return 1 - 6 * sum((rank[place] - at) ** 2 for at, place in enumerate(places)) / (n * (n * n - 1))


def _share_of_top(shown: Counter[str]) -> float | None:
    return _rounded(sum(count for _, count in shown.most_common(TOP)), shown.total())


def _rounded(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
