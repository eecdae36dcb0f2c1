"""`hourfeed plan`: what a run will take, before it begins."""

import json
from dataclasses import asdict

import click

from batch.forecast import Counts
from batch.pipeline import TRAINED
from batch.plan import Plan, count_rows, make_plan
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.generations import list_generations, live_generation
from slates.room import read_store, refuse_without_room
from source.engine import open_engine


@click.command("plan")
@click.option("--saved-model", is_flag=True, help="Plan a run that scores with a saved model, and trains none.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for a program to read.")
def command(*, saved_model: bool, as_json: bool) -> None:
    """Say what a run will take: seconds by stage, peak memory, and bytes in Redis.

    Counts rows, and computes nothing else. Exit status 1 where Redis has no room for it, or would evict.
    """
    settings = read_settings(BatchSettings)
    engine = open_engine(settings.database_url, settings.state)
    try:
        counts = count_rows(engine, settings)
    finally:
        engine.dispose()
    with open_redis(settings) as redis:
        keys = keys_of(redis, settings.prefix)
        last = live_generation(redis, keys)
        first_read = not (settings.state / "event-log").is_dir()
        trains = settings.ranker in TRAINED and not saved_model
        plan = make_plan(settings, counts, read_store(redis), last, trains=trains, first_read=first_read)
        held = len(list_generations(redis, keys))
        click.echo(json.dumps(asdict(plan)) if as_json else _in_words(settings, counts, plan, held=held))
        of_generation, of_posts = plan.redis_bytes, plan.posts_bytes
        refuse_without_room(redis, keys, of_generation=of_generation, of_posts=of_posts, keep=settings.keep_generations)


def _in_words(settings: BatchSettings, counts: Counts, plan: Plan, *, held: int) -> str:
    lines = [f"{counts.events:,} events, {counts.users:,} users × {settings.hours} hours, {counts.posts:,} posts"]
    lines += [f"  {stage:<10} {seconds:>8,.1f} s" for stage, seconds in plan.seconds.items()]
    lines.append(f"  {'all':<10} {sum(plan.seconds.values()):>8,.1f} s, by {_by(measured=plan.measured)}")
    lines.append(f"memory     {plan.memory_bytes / 1e9:>8,.2f} GB at the peak")
    kept = f"up to {settings.keep_generations + 1} of them ({held} are held)"
    posts = f"{plan.posts_bytes / 1e6:,.1f} MB of posts"
    lines.append(f"Redis      {plan.redis_bytes / 1e6:>8,.1f} MB a generation, {kept}, and {posts}")
    return "\n".join(lines)


def _by(*, measured: bool) -> str:
    return "what the last run took" if measured else "what another machine took, and a probe of this one"
