"""The page of `hourfeed diff`: how two generations differ, in pictures, and the table behind each of them."""

from batch.report.diff_rows import about, bucket_rows, measure_rows, measures, mover_rows, tenth_name, tenth_rows
from batch.report.parts import head, page, section, table
from charts.svg import Point, Series, bar_chart, line_chart
from slates.diff import FIRST, Difference
from slates.manifest import Manifest


def render(old: Manifest, new: Manifest, found: Difference) -> str:
    """Return the page."""
    title = f"From {old.id} to {new.id}"
    said = (
        f"The slates of {found.users:,} users whom both generations know, in the {found.hours} hours that both have. "
        f"{'; '.join(about(old, new))}."
    )
    figures = [(value, f"{name}: {what}") for name, value, what in measures(found)]
    numbers = table("Counts and measures", ["", "before", "after", "change"], measure_rows(old, new, found))
    sections = [_by_bucket(found), _by_user(found), _movers(found)] if found.overlap is not None else []
    whole = f"<section>\n<h2>Measures</h2>\n{numbers}\n</section>\n"
    return page(title, f"{head(title, said, figures)}\n{whole}{''.join(sections)}")


def _by_bucket(found: Difference) -> str:
    names = list(found.overlap_by_bucket)
    series = [
        Series("overlap", [Point(found.overlap_by_bucket[name]) for name in names], "s0"),
        Series("churn", [Point(found.churn_by_bucket[name]) for name in names], "s1"),
    ]
    title = "Overlap and churn by bucket"
    picture = line_chart(title, names, series, x="bucket (UTC)", y="share")
    return section("By bucket", "", picture, table(title, ["bucket", "overlap", "churn"], bucket_rows(found)))


def _by_user(found: Difference) -> str:
    title = "Users by the overlap of their slates"
    rows = [
        (tenth_name(at), Point(users / max(1, found.users), None, f"{users:,} users"), "s0")
        for at, users in enumerate(found.overlap_by_user)
    ]
    said = "The mean over a user's hours. Two heaps say that a group of users is served otherwise than before."
    return section("By user", said, bar_chart(title, rows), table(title, ["overlap", "users"], tenth_rows(found)))


def _movers(found: Difference) -> str:
    title = f"Share of slates with a post among the first {FIRST}"
    rows = []
    for post in (*found.risen, *found.fallen):
        rows += [
            (f"{post.post_id} before", Point(post.before), "rest"),
            (f"{post.post_id} after", Point(post.after), "s0"),
        ]
    headings = ["post", "before", "after", "change"]
    said = "The posts that rose most, then those that fell most."
    return section("Risen and fallen posts", said, bar_chart(title, rows), table(title, headings, mover_rows(found)))
