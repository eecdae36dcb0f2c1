"""Seven days of deskdrop, a batch each: the default ranker against popular_24h on the same cases."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench.feeds import ask_all, read_cases
from bench.intervals import Estimate, bootstrap_by_user
from bench.replay import told
from bench.runs import DESKDROP, Database, K, Run, batch, load
from bench.service import Service, serving

DAYS = 7
RANKERS = ("lightgbm", "popular_24h")
TROUBLES = ("failures", "repeated", "short")


@dataclass
class _Outcome:
    """What all days add up to: a user and a hit for each case, and what went wrong."""

    users: list[str] = field(default_factory=list)
    hits: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    wrong: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    batch_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    by_day: dict[str, float] = field(default_factory=dict)


def days(run: Run) -> dict[str, float]:
    """Replay the days and return the rates, by day and pooled, and the difference of the rankers with its interval."""
    outcome = _Outcome()
    with serving(run.folder / "days") as service:
        database, _ = load(run, service, DESKDROP, "sqlite", "days")
        first = datetime.fromisoformat(DESKDROP.as_of)
        for number in range(DAYS):
            _one_day(run, service, database, first + timedelta(days=number), outcome)
    return _figures(run, outcome)


def _one_day(run: Run, service: Service, database: Database, day: datetime, outcome: _Outcome) -> None:
    start, end = (f"{moment:%Y-%m-%dT%H:%M}" for moment in (day, day + timedelta(days=1)))
    path = run.cases(DESKDROP, positive="view,like", start=start, end=end)
    cases = read_cases(path)
    outcome.users += [case.user_id for case in cases]
    outcome.by_day[f"{day:%Y-%m-%d}.cases"] = len(cases)
    for ranker in RANKERS:
        manifest, batch_s = batch(run, service, database, start, cases[0], ranker)
        report = run.checker.check(path, service.url, K)
        answers = ask_all(service.url, cases, K)
        hits = [answer.is_hit(case, K) for answer, case in zip(answers, cases, strict=True)]
        run.say(f"{day:%Y-%m-%d}, {ranker}: {told(report)}")
        for trouble in TROUBLES:
            outcome.wrong[trouble] += report[trouble]
        outcome.wrong["stale"] += sum(answer.generation != manifest.id for answer in answers)
        outcome.wrong["hits_apart"] += abs(report["hits"] - sum(hits))
        outcome.hits[ranker] += hits
        outcome.batch_s[ranker] += batch_s
        outcome.by_day |= {
            f"{day:%Y-%m-%d}.{ranker}.hitrate@{K}": report[f"hitrate@{K}"],
            f"{day:%Y-%m-%d}.{ranker}.interval_95": report["interval_95"],
        }


def _figures(run: Run, outcome: _Outcome) -> dict[str, float]:
    figures: dict[str, float] = dict(outcome.by_day)
    figures["cases"] = len(outcome.users)
    for ranker in RANKERS:
        rate = bootstrap_by_user(outcome.users, outcome.hits[ranker])
        figures |= _named(f"{ranker}.hitrate@{K}", rate)
        figures[f"{ranker}.batch_s_mean"] = round(outcome.batch_s[ranker] / DAYS, 2)
        run.say(f"{DAYS} days, {ranker}: hitrate@{K} {_told(rate)} in {len(outcome.users):,} cases")
    ours, baseline = (outcome.hits[ranker] for ranker in RANKERS)
    difference = bootstrap_by_user(outcome.users, [int(a) - int(b) for a, b in zip(ours, baseline, strict=True)])
    run.say(f"{DAYS} days, {RANKERS[0]} minus {RANKERS[1]}: {_told(difference)}, paired, by user")
    figures |= _named("difference", difference) | outcome.wrong
    return {f"days.{name}": value for name, value in figures.items()}


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    ends = {f"{name}.mean": estimate.mean, f"{name}.low": estimate.low, f"{name}.high": estimate.high}
    return {figure: round(value, 4) for figure, value in ends.items()}


def _told(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} (95 %: {estimate.low:.4f} to {estimate.high:.4f})"
