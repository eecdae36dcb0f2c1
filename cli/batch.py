"""`hourfeed batch`: compute and publish one generation of slates."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import click

from batch.dask_cluster import OwnCluster, import_distributed
from batch.deadline import Watch, ended_by_signals
from batch.engine_dask import DaskEngine
from batch.errors import BatchError, SkippedError
from batch.grow import Grower, grow_here
from batch.grow_dask import DaskGrower
from batch.pipeline import run_batch
from batch.refresh import model_in_use
from batch.run_record import RunRecord
from batch.schedule import latest_tick, parse_cron
from batch.settings import BatchSettings
from cli.context import held_redis_url, open_redis, parse_time, read_settings
from cli.progress import StageProgress
from slates.bucket import bucket_name
from slates.canary import refuse_beside_experiment, start_canary
from slates.cluster import keys_of
from slates.experiment import CANARY
from slates.generations import live_generation
from slates.manifest import Manifest, Run
from source.engine import open_engine


@click.command("batch")
@click.option("--as-of", help="Compute as if it were this time (ISO 8601, UTC where no offset is given). Default: now.")
@click.option("--hours", type=int, help="Buckets to publish, from the as-of hour on. Default: the setting, 24.")
@click.option("--top-n", type=int, help="Posts in a slate. Default: the setting, 20.")
@click.option(
    "--model", "model_path", type=click.Path(path_type=Path), help="Score with this saved model, do not train."
)
@click.option("--refresh", is_flag=True, help="Score with the model in use while it is young enough (train_every_h).")
@click.option("--force", is_flag=True, help="Publish even where a guard would block it.")
@click.option(
    "--engine", type=click.Choice(["local", "dask"]), help="What makes and writes the slates. Default: the setting."
)
@click.option(
    "--scheduler", help="Address of the Dask scheduler (tcp://…). Default: the setting, or two local workers."
)
@click.option("--arm", help="Publish for this arm of an experiment, by its settings ([arms.NAME] in hourfeed.toml).")
@click.option(
    "--canary", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Publish for this share of the users."
)
@click.option(
    "--tick",
    help="The tick of a schedule that this run is for, a time or `last`: where it is done, or another run is at work, "
    "there is nothing to do.",
)
@click.option("--full-refresh", is_flag=True, help="Read all events from the database, not only what is new.")
def command(
    as_of: str | None,
    hours: int | None,
    top_n: int | None,
    model_path: Path | None,
    engine: str | None,
    scheduler: str | None,
    arm: str | None,
    canary: float | None,
    tick: str | None,
    *,
    refresh: bool,
    force: bool,
    full_refresh: bool,
) -> None:
    """Read the log, rank every user's posts for each of the coming hours, and publish the slates.

    Readers see the old slates whole until the new ones are complete. Exit status: 0 published, or nothing to do; 1
    failed, and what was live still is; 2 a wrong option or setting; 3 a guard has blocked what was made; 75 another
    run was at work for a minute; 130 and 143 stopped by SIGINT and SIGTERM.
    """
    settings = settings_of_arm(arm, hours=hours, top_n=top_n, engine=engine, scheduler=scheduler)
    moment = parse_time("--as-of", as_of) if as_of else datetime.now(UTC).replace(microsecond=0)
    if refresh and model_path:
        raise click.UsageError("--refresh goes by the model in use, --model names another: give one of the two")
    if canary and arm:
        raise click.UsageError("--canary has an arm of its own: give one of --canary and --arm")
    if canary:
        settings = settings.model_copy(update={"arm": CANARY})
        with open_redis(settings) as redis:
            refuse_beside_experiment(redis, keys_of(redis, settings.prefix))
    watch = Watch(settings.deadlines)
    try:
        with watch, ended_by_signals(watch):
            manifest = publish_once(
                settings,
                moment,
                model_path,
                refresh=refresh,
                force=force,
                full_refresh=full_refresh,
                watch=watch,
                tick=_tick(settings, tick, refresh=refresh) if tick else None,
            )
    except SkippedError as reason:
        click.echo(f"skipped: {reason}")
        return
    if canary:
        with open_redis(settings) as redis:
            start_canary(redis, keys_of(redis, settings.prefix), canary)
    click.echo(summary(manifest))
    if canary:
        click.echo(
            f"for {canary:.0%} of the users: `hourfeed promote` gives it to all, `hourfeed experiment stop` to none"
        )


def _tick(settings: BatchSettings, text: str, *, refresh: bool) -> datetime:
    if text != "last":
        return parse_time("--tick", text)
    setting = "schedule" if refresh else "full_schedule"
    expression = getattr(settings, setting)
    tick = latest_tick(parse_cron(expression, setting), datetime.now(UTC)) if expression else None
    if tick is None:
        msg = f"{setting} = {expression!r} has no last tick"
        raise click.BadParameter(msg, param_hint="--tick")
    return tick


def settings_of_arm(arm: str | None, **given: object) -> BatchSettings:
    """Return the settings of a run; for an arm with what differs there. What is `given` and not None wins."""
    settings = read_settings(BatchSettings, **given)
    if arm is None:
        return settings
    if arm not in settings.arms:
        known = ", ".join(settings.arms) or "none"
        msg = f"there is no arm {arm!r}: hourfeed.toml has, as [arms.NAME], {known}"
        raise BatchError(msg)
    chosen = {name: value for name, value in given.items() if value is not None}
    return read_settings(BatchSettings, **{**settings.arms[arm], **chosen, "arm": arm})


def publish_once(
    settings: BatchSettings,
    as_of: datetime,
    model_path: Path | None = None,
    *,
    refresh: bool = False,
    force: bool = False,
    full_refresh: bool = False,
    watch: Watch | None = None,
    tick: datetime | None = None,
) -> Manifest:
    """Run one batch with the database and the Redis of the settings, showing its progress; keep how it came out.

    A `refresh` scores with the model in use, as far as there is one that is young enough. `watch` may end the run, and
    `tick` is as in run_batch.
    """
    engine = open_engine(settings.database_url, settings.state)
    try:
        with (
            held_redis_url(settings) as url,
            open_redis(settings.model_copy(update={"redis_url": url})) as redis,
            _workers(settings) as workers,
            StageProgress() as progress,
        ):
            keys = keys_of(redis, settings.prefix, settings.arm)
            kind: Run = "refresh" if refresh else "full"
            record = RunRecord(settings.state, redis, keys, kind, as_of, watch or Watch())
            with record.kept():
                if refresh:
                    model_path = model_in_use(settings, live_generation(redis, keys), as_of)
                return run_batch(
                    settings,
                    engine,
                    redis,
                    as_of,
                    progress,
                    model_path,
                    force=force,
                    full_refresh=full_refresh,
                    shard_engine=DaskEngine(url, workers) if workers else None,
                    grow=grower_of(settings, workers),
                    record=record,
                    tick=tick,
                )
    finally:
        engine.dispose()


def _workers(settings: BatchSettings) -> AbstractContextManager[str | OwnCluster | None]:
    """Give the Dask workers of a run, by the address of their scheduler or as a cluster of its own; None for none."""
    if settings.engine == "local":
        return nullcontext()
    if settings.scheduler and not settings.redis_url:
        msg = "the workers of a Dask scheduler write to Redis by REDIS_URL: set it to a server that they all reach"
        raise BatchError(msg)
    import_distributed()  # where it is missing, say so before the work
    return nullcontext(settings.scheduler) if settings.scheduler else OwnCluster()


def grower_of(settings: BatchSettings, workers: str | OwnCluster | None) -> Grower:
    """Return what grows the trees: this process, or with train_on = workers the workers, if there are any."""
    return DaskGrower(workers) if workers and settings.train_on == "workers" else grow_here


def summary(manifest: Manifest) -> str:
    """Say in two lines what a run has published."""
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in manifest.seconds.items() if seconds >= 0.05)
    model = f", model {manifest.model_digest}" if manifest.model_digest else ""
    return (
        f"generation {manifest.id} is live: {manifest.users:,} users × {manifest.hours} hours from "
        f"{bucket_name(manifest.first_bucket)}, {manifest.posts:,} posts, ranker {manifest.ranker}{model}\n"
        f"{sum(manifest.seconds.values()):.1f} s ({stages}); {manifest.slate_bytes:,} bytes of slates"
    )
