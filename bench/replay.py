"""A log from its files to the checker's report: load, batch, serve, check, in SQLite and in Postgres."""

from typing import Any

from bench.feeds import read_cases
from bench.generation import Digests, differing_keys, digest_slates
from bench.runs import DESKDROP, GLOBO, KARPOV, K, Log, Run, batch, load
from bench.service import Service, serving


def deskdrop(run: Run) -> dict[str, float]:
    """Measure deskdrop in both databases, and again in the first on the same input."""
    return _replay(run, DESKDROP, ("sqlite", "postgres"), again=True)


def globo(run: Run) -> dict[str, float]:
    """Measure globo in SQLite, and in Postgres where both are wanted."""
    return _replay(run, GLOBO, ("sqlite", "postgres") if run.both else ("sqlite",))


def karpov(run: Run) -> dict[str, float]:
    """Measure karpov in both databases."""
    return _replay(run, KARPOV, ("sqlite", "postgres"))


def _replay(run: Run, log: Log, kinds: tuple[str, ...], *, again: bool = False) -> dict[str, float]:
    figures: dict[str, float] = {}
    digests: dict[str, Digests] = {}
    with serving(run.folder / log.name) as service:
        for kind in kinds:
            measured, digests[kind] = _measure(run, service, log, kind, again=again and kind == kinds[0])
            figures |= {f"{log.name}.{kind}.{name}": value for name, value in measured.items()}
    if len(kinds) > 1:
        apart = differing_keys(digests[kinds[0]], digests[kinds[1]])
        run.say(f"{log.name}: {len(apart)} of {len(digests[kinds[0]]):,} keys differ between {' and '.join(kinds)}")
        figures[f"{log.name}.databases.differing_keys"] = len(apart)
    return figures


def _measure(run: Run, service: Service, log: Log, kind: str, *, again: bool) -> tuple[dict[str, float], Digests]:
    cases = {positive: run.cases(log, positive=positive) for positive in log.positives}
    probe = read_cases(cases[log.positives[0]])[0]
    database, load_s = load(run, service, log, kind, log.name)
    manifest, batch_s = batch(run, service, database, log.as_of, probe)
    figures: dict[str, float] = {"load_s": round(load_s, 2), "batch_s": round(batch_s, 2)}
    for positive, path in cases.items():
        report = run.checker.check(path, service.url, K)
        name = "" if positive == log.positives[0] else f"{positive}."
        run.say(f"{log.name}, {kind}, {positive}: {told(report)}")
        figures |= {f"{name}{figure}": value for figure, value in of_report(report).items()}
    digests = digest_slates(service.redis, service.keys, manifest.id)
    figures["keys"] = len(digests)
    if again:
        second, second_s = batch(run, service, database, log.as_of, probe)
        apart = differing_keys(digests, digest_slates(service.redis, service.keys, second.id))
        figures |= {"second_run.batch_s": round(second_s, 2), "second_run.differing_keys": len(apart)}
        run.say(f"{log.name}: {len(apart)} of {len(digests):,} keys differ in a second run on the same input")
    return figures, digests


def of_report(report: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a checker's report, flat."""
    names = (f"hitrate@{K}", "interval_95", "cases", "failures", "repeated", "short", "distinct_posts")
    latencies = {f"latency_p{p}_ms": value for p, value in (report["latency_ms"] or {}).items()}
    return {name: report[name] for name in names} | latencies


def told(report: dict[str, Any]) -> str:
    """Write a checker's report in a line, with the first failures."""
    failures = "".join(f"\n    {failure}" for failure in report["first_failures"])
    return (
        f"hitrate@{K} {report[f'hitrate@{K}']:.4f} ± {report['interval_95']:.4f} in {report['cases']:,} cases; "
        f"failures {report['failures']}, repeated {report['repeated']}, short {report['short']}{failures}"
    )
