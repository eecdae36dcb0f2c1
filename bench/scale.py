"""A network of the reference scale from end to end, by the commands that users run: seconds, memory, bytes.

    python -m bench.scale [--scale tiny|demo|tenth|reference] [--database URL] [--only PART …] [--four-times]

Simulates the network into a Postgres that it starts (or takes the one at --database, which holds a log of its own).
runs: the first run with everything (read, gate, train, publish); a run with the saved model; ten minutes of new events
are inserted, and a refresh follows, held against a run that reads all anew; before each, what `hourfeed plan` says of
it. growth: runs with a half and a quarter of the users, posts, hours and events, and a tenth of the history. Redis and
the event log are on this machine too. Writes bench/results/scale.json (scale_NAME.json for a smaller scale, of which
only exactness is asked); exit status 1 when a target of bench/targets.toml is missed.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from bench.batches import Batches
from bench.figures import Target, conclude, read_targets
from bench.generation import differing_keys, digest_slates
from bench.growth import four_times, growth
from bench.network import NEW_EVENTS_SPAN, PARAMETERS, Network, delete_new_events, insert_new_events, network
from bench.service import forget_own_settings
from demo.services import hold_redis
from slates.client import connect

PARTS = ("runs", "growth")
_QUICK = {"HOURFEED_GATE_DAYS": "1", "HOURFEED_TREES": "60"}
"""Settings for the scale `tiny`, which is for trying it."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and judge."""
    given = _arguments(arguments)
    forget_own_settings()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with tempfile.TemporaryDirectory(prefix="hourfeed-scale-") as name, contextlib.ExitStack() as open_:
        folder = Path(name)
        at = open_.enter_context(network(PARAMETERS[given.scale], folder / "network", given.database))
        redis_server = open_.enter_context(hold_redis(folder / "redis"))
        redis = open_.enter_context(connect(redis_server.url, timeout_s=60))
        settings = _QUICK if given.scale == "tiny" else {}
        batches = Batches(folder / "state", at.url, redis, redis_server.url, settings)
        figures = dict(at.figures)
        figures |= _runs(batches, at) if "runs" in given.only else _model_alone(batches, at)
        if "growth" in given.only:
            figures |= growth(batches, at)
        if given.four_times:
            figures |= four_times(batches, PARAMETERS[given.scale], folder / "four-times", figures)
    return conclude("scale" if given.scale == "reference" else f"scale_{given.scale}", figures, _targets(given))


def _targets(given: argparse.Namespace) -> dict[str, Target]:
    """Return the targets of the parts that ran; a smaller network is asked for exactness alone."""
    targets = read_targets("scale" if given.scale == "reference" else "scale_smaller")
    part_of = {figure: "growth" if figure.startswith("growth.") else "runs" for figure in targets}
    return {figure: target for figure, target in targets.items() if part_of[figure] in given.only}


def _runs(batches: Batches, at: Network) -> dict[str, float]:
    """Run from nothing, with the model saved then, and again with ten minutes of new events."""
    first = batches.run("first", at.end, plan=())
    full = batches.run("full", at.end, "--model", batches.model(), plan=("--saved-model",))
    return {**first, **full, **refresh(batches, at)}


def refresh(batches: Batches, at: Network) -> dict[str, float]:
    """Refresh with ten minutes of new events, which go again; hold what it publishes against a run from all events."""
    before, later = batches.live().events, at.end + NEW_EVENTS_SPAN
    new = insert_new_events(at.url, at.end)
    try:
        found = batches.run("refresh", later, "--refresh", plan=("--saved-model",))
        made = digest_slates(batches.redis, batches.keys, batches.live().id)
        anew = batches.elsewhere("anew").run("anew", later, "--model", batches.model())
        expected = digest_slates(batches.redis, batches.keys, batches.live().id)
    finally:
        delete_new_events(at.url, at.end)
    return {
        **found,
        "refresh.new_events": new,
        "refresh.missed_events": new - (found["refresh.events"] - before),
        "refresh.rows_read_of_all": found["refresh.rows_read"] / found["refresh.events"],
        "refresh.keys": len(expected),
        "refresh.differing_keys": len(differing_keys(made, expected)),
        **{name: value for name, value in anew.items() if name in ("anew.wall_s", "anew.stage.read_s")},
    }


def _model_alone(batches: Batches, at: Network) -> dict[str, float]:
    """Train what growth is measured with, and run once with it, without a gate."""
    batches.run("first", at.end, HOURFEED_GATE_DAYS="0")
    return batches.run("full", at.end, "--model", batches.model())


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=PARAMETERS, default="reference")
    parser.add_argument("--database", metavar="URL", help="a Postgres that holds a log already, which stays as it is")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    parser.add_argument("--four-times", action="store_true", help="four times the users too, which takes long")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folder go as they do after Ctrl-C
    sys.exit(main())
