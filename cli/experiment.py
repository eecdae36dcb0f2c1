"""`hourfeed experiment`: start one, end it, and report what came of it."""

from datetime import UTC, datetime

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.experiment import Experiment, start_experiment, stop_experiment


@click.group("experiment")
def command() -> None:
    """Give shares of the users feeds of their own, and compare what comes of it."""


@command.command("start")
@click.argument("name")
@click.option(
    "--arm", "arms", multiple=True, required=True, metavar="NAME=SHARE", help="An arm and its share of the users."
)
@click.option("--salt", help="Another salt shares the users out anew. Default: the name.")
def start(name: str, arms: tuple[str, ...], salt: str | None) -> None:
    """Start the experiment NAME, as in: hourfeed experiment start fresher --arm control=0.5 --arm test=0.5.

    The arm `control` gets what everybody gets now; each other arm needs a generation by `hourfeed batch --arm`.
    """
    shares = dict(_share(given) for given in arms)
    experiment = Experiment(name, salt or name, shares, datetime.now(UTC).replace(microsecond=0))
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        start_experiment(redis, keys_of(redis, settings.prefix), experiment)
    click.echo(f"experiment {name} runs: {', '.join(f'{arm} {share:.0%}' for arm, share in shares.items())}")


@command.command("stop")
def stop() -> None:
    """End the experiment that runs: everybody gets what control got."""
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        stopped = stop_experiment(redis, keys_of(redis, settings.prefix))
    click.echo(f"experiment {stopped.name} has ended")


def _share(given: str) -> tuple[str, float]:
    name, _, share = given.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        msg = f"{given!r} is no arm with its share; write it as control=0.5"
        raise click.BadParameter(msg, param_hint="--arm") from error
