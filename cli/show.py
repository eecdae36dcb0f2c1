"""`hourfeed show`: what lies in Redis for a user, and a post."""

from datetime import UTC, datetime

import click

from batch.settings import BatchSettings
from cli.context import open_redis, parse_time, read_settings
from slates.bucket import bucket_name, bucket_of
from slates.cluster import keys_of
from slates.errors import NoGenerationError
from slates.generations import read_manifest
from slates.lookup import Lookup
from slates.posts import read_posts
from slates.verdict import verdict_line


@click.group("show")
def command() -> None:
    """Show a user's slate with its posts, or a post."""


@command.command("user")
@click.argument("user_id")
@click.option("--at", "at", help="The time to look at (ISO 8601, UTC where no offset is given). Default: now.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
def show_user(user_id: str, at: str | None, limit: int) -> None:
    """Show what USER_ID is served at a time, and from which slate."""
    settings = read_settings(BatchSettings)
    moment = parse_time("--at", at) if at else datetime.now(UTC)
    with open_redis(settings, only_look=True) as redis:
        keys = keys_of(redis, settings.prefix)
        feed = Lookup(redis, keys).feed(user_id, bucket_of(moment), limit)
        posts = read_posts(redis, keys, feed.post_ids)
        manifest = read_manifest(redis, keys, feed.generation)
    click.echo(f"user {user_id}, {bucket_name(feed.bucket)}, rung {feed.rung}, generation {feed.generation}")
    if manifest is not None:
        click.echo(f"ranker {manifest.ranker}; gate: {verdict_line(manifest.gate)}")
    for place, post_id in enumerate(feed.post_ids, start=1):
        text, topic = posts.get(post_id, ("", ""))
        click.echo(f"{place:>3}  {post_id:<22} {topic:<14} {' '.join(text.split())[:80]}")


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
    click.echo(f"post {post_id}, topic {topic or 'none'}\n{text}")
