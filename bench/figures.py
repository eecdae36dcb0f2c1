"""Figures of a benchmark: flat names and numbers, written as JSON, and held against the targets of `targets.toml`."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGETS_FILE = HERE / "targets.toml"
RESULTS = HERE / "results"

Figures = Mapping[str, float]
"""Name → number. Names are dotted, and end in the unit where there is one: `deskdrop.sqlite.batch_s`."""


class TargetsError(Exception):
    """The file of targets is not as it should be."""


@dataclass(frozen=True)
class Target:
    """What a figure has to be; None asks nothing. `above` is at_least without the equal."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None

    def is_met_by(self, value: float) -> bool:
        """Say whether `value` is within all bounds; a NaN never is."""
        return (
            not math.isnan(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
        )

    def __str__(self) -> str:
        """Write the bounds: `≥ 0.5, ≤ 2`."""
        signs = {"≥": self.at_least, "≤": self.at_most, ">": self.above}
        return ", ".join(f"{sign} {bound:g}" for sign, bound in signs.items() if bound is not None)


@dataclass(frozen=True)
class Verdict:
    """A figure beside its target. `value` is None where the target's figure was not measured, which is a miss."""

    figure: str
    value: float | None
    target: Target | None

    @property
    def ok(self) -> bool:
        """Say whether the target, if there is one, is met."""
        return self.target is None or (self.value is not None and self.target.is_met_by(self.value))


def read_targets(name: str, path: Path = TARGETS_FILE) -> dict[str, Target]:
    """Return the targets of the benchmark `name` by figure; raise TargetsError where the file holds anything else."""
    with path.open("rb") as file:
        tables = tomllib.load(file)
    if name not in tables:
        msg = f"{path} has no table [{name}]; it has: {', '.join(tables) or 'none'}"
        raise TargetsError(msg)
    return _flatten(tables[name], name)


def _flatten(table: Mapping[str, Any], where: str) -> dict[str, Target]:
    """Turn nested tables into dotted names; the first table that holds numbers is a target."""
    targets: dict[str, Target] = {}
    for key, entry in table.items():
        if not isinstance(entry, dict) or not entry:
            msg = f"{where}.{key} = {entry!r} is not a target; write it as {{ at_most = 0 }}"
            raise TargetsError(msg)
        if any(isinstance(bound, dict) for bound in entry.values()):
            inner = _flatten(entry, f"{where}.{key}")
            targets |= {f"{key}.{name}": target for name, target in inner.items()}
        else:
            targets[key] = _target(entry, f"{where}.{key}")
    return targets


def _target(entry: Mapping[str, Any], where: str) -> Target:
    allowed = ("at_least", "at_most", "above")
    for bound, value in entry.items():
        if bound not in allowed or isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{where} has {bound} = {value!r}; allowed are numbers for {', '.join(allowed)}"
            raise TargetsError(msg)
    return Target(**entry)


def judge(figures: Figures, targets: Mapping[str, Target]) -> list[Verdict]:
    """Hold figures against targets: first the figures in their order, then targets that no figure answers."""
    verdicts = [Verdict(name, value, targets.get(name)) for name, value in figures.items()]
    return verdicts + [Verdict(name, None, target) for name, target in targets.items() if name not in figures]


def write_results(name: str, figures: Figures, folder: Path | None = None) -> Path:
    """Write the figures to `NAME.json` in `folder`, bench/results by default, and return its path."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(dict(figures), indent=2) + "\n")
    return path


def table(verdicts: list[Verdict]) -> str:
    """Write figure, value, target and whether it is met, a line each, in columns."""
    rows = [("figure", "value", "target", "ok")]
    rows += [(v.figure, _number(v.value), str(v.target or ""), _mark(v)) for v in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{figure:<{widths[0]}}  {value:>{widths[1]}}  {target:<{widths[2]}}  {ok}".rstrip()
        for figure, value, target, ok in rows
    )


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


def _mark(verdict: Verdict) -> str:
    if verdict.target is None:
        return ""
    return "yes" if verdict.ok else "NO"


def conclude(name: str, figures: Figures, targets: Mapping[str, Target]) -> int:
    """Write the figures, print them beside their targets, and return the exit status: 1 when a target is missed."""
    verdicts = judge(figures, targets)
    path = write_results(name, figures)
    print(f"\n{table(verdicts)}\n\nwritten to {path}")
    missed = [verdict.figure for verdict in verdicts if not verdict.ok]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0
