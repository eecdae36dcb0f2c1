"""A scheduler for `bench.schedulers`: the product's loop and batch in one process, on ticks of seconds.

Once all is loaded it says `ready`, and reads the times of the first tick and of the end from its standard input. Then
it writes a line of JSON for every run: its tick, what came of it, and the generation or the reason.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.interval import IntervalTrigger

from batch.errors import BatchError, SkippedError
from batch.schedule import Agenda, Due, Outcome, run_loop
from batch.settings import BatchSettings
from cli.batch import publish_once
from slates.client import REDIS_AWAY, RedisError, connect
from slates.errors import SlatesError
from slates.generations import made_since
from slates.keys import Keys
from source.errors import SourceError


def main() -> None:
    """Run what is due until the end; the argument is the seconds between two ticks, settings are in the environment."""
    every_s, settings = int(sys.argv[1]), BatchSettings()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    begin, end = map(datetime.fromisoformat, sys.stdin.readline().split())
    trigger = IntervalTrigger(seconds=every_s, start_date=begin, timezone=UTC)
    agenda = Agenda({"refresh": trigger}, begin - timedelta(seconds=1), again_after_s=every_s / 4)

    def run(due: Due, as_of: datetime) -> Outcome:
        told = {"tick": due.tick.isoformat(), **_run(settings, due, as_of)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        outcome: Outcome = "done"
        if told["outcome"] != "published":
            outcome = "failed" if told["outcome"] == "failed" else _skipped(settings, due)
        return outcome

    def stopped(wait_s: float) -> bool:
        time.sleep(wait_s)
        return datetime.now(UTC) >= end

    run_loop(agenda, run, stopped)


def _run(settings: BatchSettings, due: Due, as_of: datetime) -> dict[str, str]:
    try:
        live = publish_once(settings, as_of, refresh=True, tick=due.tick)
    except SkippedError as error:
        return {"outcome": "skipped", "reason": str(error)}
    except (BatchError, SlatesError, SourceError, RedisError, *REDIS_AWAY) as error:
        return {"outcome": "failed", "reason": str(error)}
    return {"outcome": "published", "generation": live.id}


def _skipped(settings: BatchSettings, due: Due) -> Outcome:
    """Say whether the tick that was left to another is done by now."""
    with connect(settings.redis_url or "") as redis:
        return "done" if made_since(redis, Keys(), due.tick, datetime.now(UTC)) else "busy"


if __name__ == "__main__":
    main()
