"""`hourfeed status`: which generation is live, how old it is, and which others Redis holds."""

from datetime import UTC, datetime

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.plain import plain
from slates.bucket import bucket_name
from slates.cluster import keys_of
from slates.generations import list_generations, live_generation
from slates.manifest import Manifest
from slates.verdict import verdict_line


@click.command("status")
def command() -> None:
    """Say which generation is live, and list the others. Exit status 1 where none is live."""
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        keys = keys_of(redis, settings.prefix)
        live, held = live_generation(redis, keys), list_generations(redis, keys)
    if live is None:
        click.echo("no generation is live; publish one with `hourfeed batch`")
        raise SystemExit(1)
    for name, value in describe(live, datetime.now(UTC)).items():
        click.echo(plain(f"{name:<12} {value}"))
    click.echo("\ngeneration                 state        as of                 users       slates  ranker")
    for manifest in held:
        as_of = f"{manifest.as_of:%Y-%m-%d %H:%M:%S}"
        counts = f"{manifest.users:>9,} {manifest.slates:>12,}"
        click.echo(plain(f"{manifest.id:<26} {manifest.state:<12} {as_of:<19} {counts}  {manifest.ranker}"))


def describe(manifest: Manifest, now: datetime) -> dict[str, str]:
    """Return what is to be told of the live generation."""
    age_h = (now - manifest.as_of).total_seconds() / 3600
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in manifest.seconds.items())
    return {
        "live": manifest.id,
        "as of": f"{manifest.as_of:%Y-%m-%dT%H:%M:%SZ} ({age_h:,.1f} hours ago)",
        "buckets": f"{bucket_name(manifest.first_bucket)} to {bucket_name(manifest.last_bucket)}",
        "users": f"{manifest.users:,}",
        "posts": f"{manifest.posts:,}",
        "slates": f"{manifest.slates:,} of up to {manifest.top_n} posts, {manifest.slate_bytes:,} bytes",
        "segments": f"{manifest.segments}",
        "explored": _explored(manifest),
        "ranker": manifest.ranker,
        "gate": verdict_line(manifest.gate),
        "alike": "not known" if manifest.alike is None else f"{manifest.alike:.1%} of users get what everybody gets",
        "model": manifest.model_digest or "none",
        "settings": manifest.config_digest,
        "events": f"{manifest.events:,}",
        "quarantined": f"{manifest.quarantined:,} events",
        "before it": manifest.previous or "none",
        "stages": stages,
    }


def _explored(manifest: Manifest) -> str:
    if not manifest.explore_places:
        return "nothing"
    places = ", ".join(map(str, manifest.explore_places))
    share = manifest.explored / max(1, manifest.slates * len(manifest.explore_places))
    return f"at place {places}: {manifest.explored:,} posts, {share:.0%} of what these places hold"
