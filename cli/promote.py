"""`hourfeed promote`: make the canary's generation live for all."""

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.canary import promote
from slates.cluster import keys_of


@click.command("promote")
def command() -> None:
    """Give everybody the generation that a share of the users has by `hourfeed batch --canary`.

    `hourfeed experiment stop` ends a canary without that; `hourfeed rollback` undoes it.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        live = promote(redis, keys_of(redis, settings.prefix))
    click.echo(f"generation {live.id} is live for all (as of {live.as_of:%Y-%m-%dT%H:%M:%SZ})")
