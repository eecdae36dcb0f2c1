"""`hourfeed experiment`: start one, end it, and report what came of it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.experiment import Experiment, find_experiment, start_experiment, stop_experiment
from source.engine import open_engine


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
    click.echo(f"experiment {stopped.name} has ended; what came of it: hourfeed experiment report {stopped.name}")


@command.command("report")
@click.argument("name", required=False)
@click.option("--response", "responses", multiple=True, default=("like",), show_default=True, help="What is a hit.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file, too.")
def report(name: str | None, responses: tuple[str, ...], json_path: Path | None) -> None:
    """Compare the arms of the experiment NAME, by default of the one that runs.

    A hit is a response, within an hour, to a post that was shown. Exposures and events get into the database by
    `hourfeed drain`.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        experiment = find_experiment(redis, keys_of(redis, settings.prefix), name)
    from batch.experiment import report_on  # numpy, pandas and scipy: only where they are needed

    engine = open_engine(settings.database_url, settings.state)
    try:
        told = report_on(engine, settings.source, experiment, responses)
    finally:
        engine.dispose()
    click.echo("\n".join(told.lines()))
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(told), indent=2) + "\n", encoding="utf-8")


def _share(given: str) -> tuple[str, float]:
    name, _, share = given.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        msg = f"{given!r} is no arm with its share; write it as control=0.5"
        raise click.BadParameter(msg, param_hint="--arm") from error
