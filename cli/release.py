"""`hourfeed release`: make a generation live that the guards have blocked."""

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.experiment import CANARY
from slates.generations import release


@click.command("release")
@click.argument("generation")
@click.option("--arm", help="The arm of an experiment for which it was made.")
def command(generation: str, arm: str | None) -> None:
    """Make GENERATION live, which a run has made and its guards have blocked.

    Look at it first with `hourfeed diff GENERATION`; `hourfeed rollback` undoes it.
    """
    if arm == CANARY:
        raise click.UsageError("a canary begins with a share of the users: `hourfeed batch --canary SHARE --force`")
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        live = release(redis, keys_of(redis, settings.prefix, arm), generation)
    click.echo(f"generation {live.id} is live (as of {live.as_of:%Y-%m-%dT%H:%M:%SZ})")
