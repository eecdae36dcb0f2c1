"""`hourfeed status`: which generation is live, how old it is, and which others Redis holds; a check for monitors."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import click

from batch.run_record import read_record
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.plain import plain
from server.settings import ServerSettings
from slates.bucket import bucket_name
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.freshness import Freshness, freshness_of
from slates.generations import list_generations, live_generation
from slates.guarded import guards_line
from slates.keys import Keys
from slates.last_run import LastRun, read_last_run, told
from slates.manifest import Manifest
from slates.verdict import verdict_line

OK, STALE, UNKNOWN = 0, 1, 2
"""Exit statuses of `--check`."""


@click.command("status")
@click.option(
    "--check", is_flag=True, help="One line for cron and monitors: exit status 0 fresh, 1 not, 2 cannot tell."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--least-hours",
    type=float,
    default=1.0,
    show_default=True,
    help="With --check: hours that the live generation must have left.",
)
@click.option(
    "--failures", type=click.IntRange(1), default=3, show_default=True, help="With --check: failed runs in a row."
)
def command(least_hours: float, failures: int, *, check: bool, as_json: bool) -> None:
    """Say which generation is live, and list the others. Exit status 1 where none is live."""
    settings, fresh_for_h = read_settings(BatchSettings), read_settings(ServerSettings).fresh_for_h
    try:
        with open_redis(settings, only_look=True) as redis:
            keys = keys_of(redis, settings.prefix)
            live, held = live_generation(redis, keys), list_generations(redis, keys)
            last_run = read_last_run(redis, keys)
    except SlatesError as error:
        if not check:
            ours = read_record(settings.state, Keys(settings.prefix))
            if ours is not None:
                click.echo(plain(f"this machine's last run: {told(ours)}"))
            raise
        _end(UNKNOWN, f"UNKNOWN: {error}")
    now = datetime.now(UTC)
    standing = Standing(live, tuple(held), freshness_of(live, now, fresh_for_h) if live else None, last_run)
    if as_json:
        click.echo(json.dumps(standing.as_told(), indent=1))
    if check:
        problems = standing.problems(least_hours, failures)
        _end(STALE if problems else OK, "" if as_json else standing.line(problems))
    if not as_json and last_run is not None:
        click.echo(plain(f"last run     {told(last_run)}"))
    if live is None:
        _end(STALE, "" if as_json else "no generation is live; publish one with `hourfeed batch`")
    if not as_json:
        _print(live, standing, now)


@dataclass(frozen=True)
class Standing:
    """How things stand: the live generation, all that Redis holds, and the live one against the objective."""

    live: Manifest | None
    held: tuple[Manifest, ...]
    freshness: Freshness | None
    last_run: LastRun | None = None

    @property
    def blocked(self) -> list[str]:
        """Return the ids of generations that the guards have kept from taking the place of the live one."""
        live_seq = self.live.seq if self.live else 0
        return [manifest.id for manifest in self.held if manifest.state == "blocked" and manifest.seq > live_seq]

    def problems(self, least_hours: float, failures: int) -> list[str]:
        """Return what a monitor should raise the alarm for."""
        if self.live is None or self.freshness is None:
            return ["no generation is live; publish one with `hourfeed batch`"]
        found = [] if self.freshness.is_fresh else [self.freshness.why_stale]
        if self.freshness.hours_left < least_hours:
            found.append(f"it has {max(self.freshness.hours_left, 0):.1f} hours left, under {least_hours:g}")
        if self.last_run is not None and self.last_run.failures >= failures:
            found.append(f"{self.last_run.failures} runs in a row have failed, the last one: {told(self.last_run)}")
        return found

    def line(self, problems: list[str]) -> str:
        """Say it in a line that begins with OK or STALE."""
        said = list(problems)
        if not problems and self.live and self.freshness:
            age_h, objective_h = self.freshness.age_s / 3600, self.freshness.objective_s / 3600
            said.append(f"the live generation is {age_h:.1f} hours old, of {objective_h:g} at most")
            said.append(f"it has {self.freshness.hours_left:.1f} hours left")
        if self.live:
            said.append(f"generation {self.live.id}")
        if self.blocked:
            said.append(f"blocked by the guards: {', '.join(self.blocked)}")
        return f"{'STALE' if problems else 'OK'}: {'; '.join(said)}"

    def as_told(self) -> dict[str, Any]:
        """Return it for JSON: manifests as Redis holds them, but with numbers as numbers."""
        return {
            "fresh": self.freshness is not None and self.freshness.is_fresh,
            "freshness": asdict(self.freshness) if self.freshness else None,
            "live": _told(self.live) if self.live else None,
            "held": [_told(manifest) for manifest in self.held],
            "blocked": self.blocked,
            "last_run": {**asdict(self.last_run), **self.last_run.to_hash()} if self.last_run else None,
        }


def _told(manifest: Manifest) -> dict[str, Any]:
    texts = manifest.to_hash()
    return {name: texts[name] if _is_time(name) else value for name, value in asdict(manifest).items()}


def _is_time(name: str) -> bool:
    return name in {"as_of", "started_at", "built_at", "first_bucket", "last_bucket"}


def _end(status: int, said: str) -> NoReturn:
    if said:
        click.echo(plain(said))
    raise SystemExit(status)


def _print(live: Manifest, standing: Standing, now: datetime) -> None:
    blocked = {"blocked": ", ".join(standing.blocked)} if standing.blocked else {}
    for name, value in {**describe(live, now), **_against_objective(standing.freshness), **blocked}.items():
        click.echo(plain(f"{name:<12} {value}"))
    click.echo("\ngeneration                 state        as of                 users       slates  ranker")
    for manifest in standing.held:
        as_of = f"{manifest.as_of:%Y-%m-%d %H:%M:%S}"
        counts = f"{manifest.users:>9,} {manifest.slates:>12,}"
        click.echo(plain(f"{manifest.id:<26} {manifest.state:<12} {as_of:<19} {counts}  {manifest.ranker}"))


def describe(manifest: Manifest, now: datetime) -> dict[str, str]:
    """Return what is to be told of a generation."""
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
        "guards": guards_line(manifest),
        "alike": "not known" if manifest.alike is None else f"{manifest.alike:.1%} of users get what everybody gets",
        "model": manifest.model_digest or "none",
        "settings": manifest.config_digest,
        "events": f"{manifest.events:,}",
        "quarantined": f"{manifest.quarantined:,} events",
        "before it": manifest.previous or "none",
        "stages": stages,
    }


def _against_objective(freshness: Freshness | None) -> dict[str, str]:
    if freshness is None:
        return {}
    word = "fresh" if freshness.is_fresh else "stale"
    left = max(freshness.hours_left, 0)
    return {"objective": f"{word}: up to {freshness.objective_s / 3600:g} hours old; {left:.1f} hours are left"}


def _explored(manifest: Manifest) -> str:
    if not manifest.explore_places:
        return "nothing"
    places = ", ".join(map(str, manifest.explore_places))
    share = manifest.explored / max(1, manifest.slates * len(manifest.explore_places))
    return f"at place {places}: {manifest.explored:,} posts, {share:.0%} of what these places hold"
