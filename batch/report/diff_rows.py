"""The rows of tables that say how two generations differ, for the terminal and for the page."""

from slates.diff import FIRST, Difference
from slates.manifest import Manifest

NONE = "–"
MEASURES = {
    "overlap": "posts of a slate that are in the other one too",
    "churn": f"slates whose first {FIRST} posts have none in common",
    "order": "rank correlation of the posts that two slates share",
}


def measure_rows(old: Manifest, new: Manifest, found: Difference) -> list[list[str]]:
    """Return what it is, before, after and the change of each measure."""
    counts = [(name, getattr(old, name), getattr(new, name)) for name in ("users", "posts", "events")]
    counts += [
        ("users that the other one lacks, of those looked at", found.only_before, found.only_after),
        ("different posts shown to these users", found.posts_before, found.posts_after),
    ]
    rows = [[name, f"{was:,}", f"{now:,}", _ratio(was, now)] for name, was, now in counts]
    shares = [
        ("places that the ten posts shown most take", found.top_before, found.top_after),
        ("users who get what everybody gets", old.alike, new.alike),
    ]
    rows += [[name, share(was), share(now), _difference(was, now)] for name, was, now in shares]
    rows += [["ranker", old.ranker, new.ranker, ""], ["as of", f"{old.as_of:%F %T}", f"{new.as_of:%F %T}", ""]]
    rows += [["state", old.state, new.state, ""]]
    order = NONE if found.order is None else f"{found.order:.3f}"
    values = {"overlap": share(found.overlap), "churn": share(found.churn), "order": order}
    return rows + [[f"{name}: {what}", "", "", values[name]] for name, what in MEASURES.items()]


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


def _ratio(was: int, now: int) -> str:
    return f"{now / was - 1:+.1%}" if was else NONE


def _difference(was: float | None, now: float | None) -> str:
    return NONE if was is None or now is None else f"{100 * (now - was):+.1f} points"
