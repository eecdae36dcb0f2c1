"""The rows of tables that say how two generations differ, for the terminal and for the page."""

from slates.diff import FIRST, Difference
from slates.manifest import Manifest

NONE = "–"


def about(old: Manifest, new: Manifest) -> list[str]:
    """Return a line on each of the two generations."""
    return [f"{m.id}: {m.state}, by {m.ranker}, as of {m.as_of:%Y-%m-%d %H:%M:%S} UTC" for m in (old, new)]


def measures(found: Difference) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of what is measured of both together."""
    order = NONE if found.order is None else f"{found.order:.3f}"
    return [
        ("overlap", share(found.overlap), "posts of a slate that are in the other one too"),
        ("churn", share(found.churn), f"slates whose first {FIRST} posts have none in common"),
        ("order", order, "rank correlation of the posts that two slates share"),
    ]


def measure_rows(old: Manifest, new: Manifest, found: Difference) -> list[list[str]]:
    """Return what is counted, before, after and the change."""
    counts = [(name, getattr(old, name), getattr(new, name)) for name in ("users", "posts", "events")]
    counts += [
        ("users of the sample only here", found.only_before, found.only_after),
        ("different posts shown to it", found.posts_before, found.posts_after),
    ]
    rows = [[name, f"{was:,}", f"{now:,}", _ratio(was, now)] for name, was, now in counts]
    shares = [
        ("of all posts", _part(found.posts_before, old.posts), _part(found.posts_after, new.posts)),
        ("places of the ten most shown", found.top_before, found.top_after),
        ("users who get what all get", old.alike, new.alike),
    ]
    return rows + [[name, share(was), share(now), _difference(was, now)] for name, was, now in shares]


def bucket_rows(found: Difference) -> list[list[str]]:
    """Return bucket, overlap and churn."""
    return [[name, share(value), share(found.churn_by_bucket[name])] for name, value in found.overlap_by_bucket.items()]


def tenth_rows(found: Difference) -> list[list[str]]:
    """Return each tenth of the overlap, and the users in it."""
    return [[tenth_name(at), f"{users:,}"] for at, users in enumerate(found.overlap_by_user)]


def tenth_name(at: int) -> str:
    """Name a tenth: `10–20 %`."""
    return f"{10 * at}–{10 * at + 10} %"


def mover_rows(found: Difference) -> list[list[str]]:
    """Return the posts that rose, then those that fell: share of slates that begin with them before and after."""
    return [
        [post.post_id, share(post.before), share(post.after), _difference(post.before, post.after)]
        for post in (*found.risen, *found.fallen)
    ]


def share(value: float | None) -> str:
    """Write a share."""
    return NONE if value is None else f"{value:.1%}"


def _part(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def _ratio(was: int, now: int) -> str:
    return f"{now / was - 1:+.1%}" if was else NONE


def _difference(was: float | None, now: float | None) -> str:
    return NONE if was is None or now is None else f"{100 * (now - was):+.1f} points"
