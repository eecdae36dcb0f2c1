"""`hourfeed erase`: remove all that is known of a user."""

import click

from batch.erase import clear_copies
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.erase import erase_user
from source.engine import open_engine
from source.erase import count_rows_of, delete_rows_of


@click.command("erase")
@click.argument("user_id")
@click.option("--database", is_flag=True, help="Delete the user's rows in the database, too (as DRAIN_DATABASE_URL).")
def command(user_id: str, *, database: bool) -> None:
    """Remove USER_ID from Redis, from the event log and from quarantine files; say what went and what is left.

    Without --database the rows in the database stay; as long as they do, the user comes back with the next run.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings) as redis:
        erased = erase_user(redis, keys_of(redis, settings.prefix), user_id)
    url = (settings.drain_database_url or settings.database_url) if database else settings.database_url
    engine = open_engine(url, settings.state)
    try:
        deleted = delete_rows_of(engine, settings.source, user_id) if database else {}
        left = count_rows_of(engine, settings.source, user_id)
    finally:
        engine.dispose()
    cleared = clear_copies(settings.state, [user_id])
    for what, count in (
        ("slates in generations", erased.slates),
        ("posts hidden from the feed", erased.seen),
        ("events that waited", erased.waiting_events),
        ("exposures that waited", erased.waiting_exposures),
        ("events in the log", cleared.events),
        ("rows in quarantine files", cleared.set_aside),
        *((f"rows of {name}", rows) for name, rows in deleted.items()),
    ):
        click.echo(f"removed  {count:>9,}  {what}")
    for name, rows in left.items():
        click.echo(f"left     {rows:>9,}  rows of {name}; delete them there, or with --database")
