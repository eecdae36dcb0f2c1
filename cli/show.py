"""`hourfeed show`: what lies in Redis for a user, and a post."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from batch.settings import BatchSettings
from cli.context import open_redis, parse_time, read_settings
from cli.plain import plain, plain_lines
from cli.progress import StageProgress
from slates.bucket import bucket_name, bucket_of
from slates.cluster import keys_of
from slates.errors import NoGenerationError
from slates.feed import Feed
from slates.generations import read_manifest
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.posts import read_posts
from slates.verdict import verdict_line
from source.engine import open_engine

if TYPE_CHECKING:
    from batch.why import Reason


@click.group("show")
def command() -> None:
    """Show a user's slate with its posts, or a post."""


@command.command("user")
@click.argument("user_id")
@click.option("--at", "at", help="The time to look at (ISO 8601, UTC where no offset is given). Default: now.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--why", is_flag=True, help="Say of each post why it is there; reads the database, and takes longer.")
def show_user(user_id: str, at: str | None, limit: int, *, why: bool) -> None:
    """Show what USER_ID is served at a time, and from which slate."""
    settings = read_settings(BatchSettings)
    moment = parse_time("--at", at) if at else datetime.now(UTC)
    with open_redis(settings, only_look=True) as redis:
        keys = keys_of(redis, settings.prefix)
        feed = Lookup(redis, keys).feed(user_id, bucket_of(moment), limit)
        posts = read_posts(redis, keys, feed.post_ids)
        manifest = read_manifest(redis, keys, feed.generation)
    click.echo(
        f"user {plain(user_id)}, {bucket_name(feed.bucket)}, rung {feed.rung}, generation {plain(feed.generation)}"
    )
    if manifest is not None:
        click.echo(plain(f"ranker {manifest.ranker}; gate: {verdict_line(manifest.gate)}"))
    told = _told(settings, user_id, feed, manifest) if why and manifest is not None else {}
    for place, post_id in enumerate(feed.post_ids, start=1):
        text, topic = posts.get(post_id, ("", ""))
        click.echo(plain(f"{place:>3}  {post_id:<22} {topic:<14} {' '.join(text.split())[:80]}"))
        for line in told.get(post_id, ()):
            click.echo(plain(f"     {line}"))


def _told(settings: BatchSettings, user_id: str, feed: Feed, manifest: Manifest) -> dict[str, list[str]]:
    """Return the lines that say why, by post; the reasons of the slate are computed again from model and events."""
    from batch.why import explain  # what it imports takes seconds

    shared = "not from the user's own slate: much touched by users like this one, or by everybody"
    told = {post_id: [shared] for post_id in feed.post_ids}
    own = [post_id for post_id in feed.post_ids if post_id in set(feed.slate)]
    if feed.rung not in {"exact", "same_hour", "previous"}:
        return told
    engine = open_engine(settings.database_url, settings.state)
    try:
        with StageProgress() as progress:
            found = explain(settings, engine, manifest, user_id, feed.bucket, own, progress)
    finally:
        engine.dispose()
    of = "all of them scored" if found.all_scored else "those that the retrievers brought"
    click.echo(f"from {found.posts:,} posts as of {manifest.as_of:%Y-%m-%dT%H:%M:%SZ}, {of}")
    for note in found.notes:
        click.echo(f"note: {note}")
    told |= {post_id: ["no longer among the posts of that time"] for post_id in own}
    explored = {feed.slate[place - 1] for place in manifest.explore_places if place <= len(feed.slate)}
    for reason in found.reasons:
        lines = _lines(reason)
        if reason.post_id in explored:
            lines.insert(
                0, "at a place that explores: perhaps not for its score, but because hardly anybody has seen it"
            )
        told[reason.post_id] = lines
    return told


def _lines(reason: "Reason") -> list[str]:
    head = f"score {reason.score:+.3f}: user and post {reason.of_pair:+.3f}, topic and hour {reason.of_topic:+.3f}, "
    lines = [f"{head}post and hour {reason.of_hour:+.3f}; number {reason.place:,} of {reason.retriever}"]
    for given in reason.largest:
        value = "missing" if given.value is None else f"{given.value:.4g}"
        lines.append(f"{given.adds:+.3f}  {given.feature} = {value}: {given.what}")
    return lines


@command.command("post")
@click.argument("post_id")
def show_post(post_id: str) -> None:
    """Show the text and topic of POST_ID as they are served."""
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        posts = read_posts(redis, keys_of(redis, settings.prefix), [post_id])
    if post_id not in posts:
        msg = (
            f"Redis holds no post {post_id!r}; posts are written by `hourfeed batch` when they exist at its as-of time"
        )
        raise NoGenerationError(msg)
    text, topic = posts[post_id]
    click.echo(f"post {plain(post_id)}, topic {plain(topic) or 'none'}\n{plain_lines(text)}")
