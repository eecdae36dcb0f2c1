"""`hourfeed rollback`: serve an earlier generation again."""

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.generations import rollback


@click.command("rollback")
@click.argument("generation", required=False)
@click.option("--arm", help="The arm of an experiment whose generations are meant.")
def command(generation: str | None, arm: str | None) -> None:
    """Make GENERATION live, or without one the generation that was live before this one."""
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        live = rollback(redis, keys_of(redis, settings.prefix, arm), generation)
    click.echo(f"generation {live.id} is live (as of {live.as_of:%Y-%m-%dT%H:%M:%SZ})")
