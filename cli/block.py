"""`hourfeed block`: take posts down, and back."""

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.blocked import block, read_blocked, unblock
from slates.cluster import keys_of


@click.command("block")
@click.argument("post_ids", nargs=-1)
@click.option("--back", is_flag=True, help="Take them back instead.")
def command(post_ids: tuple[str, ...], *, back: bool) -> None:
    """Take POST_IDS down: no feed shows them from the next request on. Without any, list those that are down."""
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        keys = keys_of(redis, settings.prefix)
        if not post_ids:
            for post_id in sorted(read_blocked(redis, keys)):
                click.echo(post_id)
            return
        changed = (unblock if back else block)(redis, keys, post_ids)
    click.echo(f"{changed} of {len(post_ids)} posts taken {'back' if back else 'down'}, the others were so already")
