"""Chaos: `make chaos` kills hundreds of batches at random moments, and spoils all that they and the server lean on.

Meanwhile feeds are asked for without a pause, and every answer is held against what its generation must hold. After
each kill and each fault a batch must go through, and what it publishes must be what an undisturbed one publishes.
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from redis import Redis

from bench.blocks import rewrite_page
from bench.chaos_faults import FAULTS, FROM_THE_START, Given, file_bytes_for
from bench.chaos_lookups import LookUps, Seen, Watch
from bench.chaos_page import PAGE, chaos_blocks, days_blocks, draw
from bench.chaos_world import KEYS, World, world
from bench.days24 import DAYS, by_day, figures, live_through
from bench.figures import conclude, read_targets
from bench.nursery import Ended
from bench.service import forget_own_settings
from slates.generations import list_generations

KILLS, FAULTS_WANTED = 300, 105
_FAULT_S = (0.2, 0.9)
_STAGES = ("before_writing", "while_writing", "after_the_flip")
_OUTCOMES = ("right", "with_gaps", "mixed", "partial", "lost", "low_rung", "stale", "asked_again")
MAY_LAST = {
    *(KEYS.current, KEYS.generations, KEYS.seq, KEYS.blocked, KEYS.blocked_mark, KEYS.arms, KEYS.experiment),
    *(KEYS.experiments, KEYS.exposures, KEYS.events, KEYS.erased, KEYS.last_run),
}
"""Keys without a TTL by docs/redis.md."""


@dataclass
class Tally:
    """What came of kills, faults and the runs after them."""

    counts: Counter[str] = field(default_factory=Counter)
    following_s: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def ended(self, ended: Ended, what: str) -> None:
        """Count how a run under a fault ended."""
        self.counts["faults.runs_published" if ended.status == 0 else "faults.runs_failed"] += 1
        if ended.crashed:
            self.counts["runs_without_a_reason"] += 1
            self.said.append(f"{what}: {ended.said[-1500:]}")


def chaos(kills: int, faults: int, seed: int = 0) -> dict[str, float]:
    """Return the figures of so many kills and faults."""
    begun = time.perf_counter()
    chance = random.Random(seed)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory(prefix="hourfeed-chaos-") as folder, world(Path(folder)) as made:
        watch, tally = Watch(calm_since=time.monotonic()), Tally()
        with LookUps(made, watch) as look_ups:
            _kill(made, kills, chance, tally)
            _spoil(made, watch, faults, chance, tally)
            _follow(made, chance.randrange(len(made.expected)), tally)
        with made.client() as redis:
            keys = _keys(redis)
    for told in (*look_ups.seen.examples, *tally.said):
        print(told)
    return {
        **{
            f"kills.{name}": tally.counts[f"kills.{name}"]
            for name in ("n", "before_writing", "while_writing", "after_the_flip")
        },
        "faults.n": sum(tally.counts[f"faults.{name}"] for name in FAULTS),
        **{f"faults.{name}": tally.counts[f"faults.{name}"] for name in (*FAULTS, "runs_published", "runs_failed")},
        "runs_without_a_reason": tally.counts["runs_without_a_reason"],
        "following.n": len(tally.following_s),
        "following.failed": tally.counts["following.failed"],
        "following.not_whole": tally.counts["following.not_whole"],
        "following.median_s": round(statistics.median(tally.following_s), 2),
        **_told(look_ups.seen),
        **keys,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _kill(world: World, kills: int, chance: random.Random, tally: Tally) -> None:
    """Kill batches, each at a moment drawn from the whole of its duration; after most of them one goes through."""
    seconds = [expected.seconds for expected in world.expected]
    while tally.counts["kills.n"] < kills:
        number = chance.randrange(len(seconds))
        with world.client() as redis:
            seq = _seq(redis)
        begun = time.monotonic()
        pid = world.start(number)
        time.sleep(chance.uniform(0, seconds[number]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if world.nursery.wait().status != -signal.SIGKILL:
            seconds[number] = time.monotonic() - begun  # it is quicker by now than it was
            continue
        tally.counts["kills.n"] += 1
        tally.counts[f"kills.{_stage(world, seq)}"] += 1
        if chance.random() < 0.7:  # else the next one is killed as well
            _follow(world, number if chance.random() < 0.5 else chance.randrange(len(seconds)), tally)
        _say(tally.counts["kills.n"], kills, "kills")


def _stage(world: World, seq_before: int) -> str:
    """Say how far a killed batch had come, by the number that it drew and what stands in Redis under it."""
    with world.client() as redis:
        seq = _seq(redis)
        states = {manifest.seq: manifest.state for manifest in list_generations(redis, KEYS)}
    if seq == seq_before or seq not in states:
        return "before_writing"
    return "while_writing" if states[seq] == "writing" else "after_the_flip"


def _seq(redis: Redis) -> int:
    return int(cast("bytes | None", redis.get(KEYS.seq)) or 0)


def _spoil(world: World, watch: Watch, faults: int, chance: random.Random, tally: Tally) -> None:
    """Bring one fault of each kind after the other while a batch runs, then let a batch go through."""
    for turn in range(faults):
        name = list(FAULTS)[turn % len(FAULTS)]
        number = chance.randrange(len(world.expected))
        given = Given(world, watch, chance, chance.uniform(*_FAULT_S))
        options = ("--full-refresh",) if name in FROM_THE_START else ()
        with watch.spoiled():
            world.start(number, *options, file_bytes=file_bytes_for(name, chance))
            if name not in FROM_THE_START:
                time.sleep(chance.uniform(0, 0.9 * world.expected[number].seconds))
            with FAULTS[name](given):
                world.mend(unless_cut=True)
                tally.ended(world.nursery.wait(), name)
            world.mend()
            tally.counts[f"faults.{name}"] += 1
            _follow(world, chance.randrange(len(world.expected)), tally)
        _say(turn + 1, faults, "faults")


def _follow(world: World, number: int, tally: Tally) -> None:
    """Let a batch go through, and compare what is live then with what an undisturbed one publishes."""
    begun = time.perf_counter()
    ended = world.publish(number)
    tally.following_s.append(time.perf_counter() - begun)
    if ended.status:
        tally.counts["following.failed"] += 1
        tally.said.append(f"a following run ended with {ended.status}: {ended.said[-1500:]}")
    elif world.live_input() != number:
        tally.counts["following.not_whole"] += 1
        tally.said.append(f"input {number} was published, live is {world.live_input()}")


def _keys(redis: Redis) -> dict[str, int]:
    """Look at every key that Redis holds."""
    listed = {manifest.id for manifest in list_generations(redis, KEYS)}
    names = [name.decode() for name in redis.scan_iter(count=1_000)]
    lasting = {name for name in names if redis.ttl(name) == -1}
    print("keys without a TTL:", ", ".join(sorted(lasting)))
    stem = KEYS.generation("")
    unlisted = {name for name in names if name.startswith(stem) and name.split(":")[2] not in listed}
    return {
        "keys.n": len(names),
        "keys.without_ttl": len(lasting),
        "keys.without_ttl_but_the_few": len(lasting - MAY_LAST),
        "keys.of_unlisted_generations": len(unlisted),
    }


def _told(seen: Seen) -> dict[str, float]:
    seconds = sorted(seen.seconds)
    return {
        "lookups.n": len(seconds),
        **{f"lookups.{outcome}": seen.outcomes[outcome] for outcome in _OUTCOMES},
        **{f"lookups.rung.{rung}": count for rung, count in sorted(seen.rungs.items())},
        "lookups.p50_ms": round(1_000 * seconds[len(seconds) // 2], 2),
        "lookups.p99_ms": round(1_000 * seconds[len(seconds) * 99 // 100], 1),
        "lookups.max_ms": round(1_000 * seconds[-1], 1),
    }


def _say(done: int, of: int, what: str) -> None:
    if done % 20 == 0 or done == of:
        print(f"{time.strftime('%H:%M:%S')} {what}: {done} of {of}", flush=True)


def main() -> int:
    """Run it; the exit status is 1 when a target is missed. Whole parts are written into docs/reliability.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("chaos", "days"), default=("chaos", "days"))
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--faults", type=int, default=FAULTS_WANTED)
    parser.add_argument("--days", type=float, default=DAYS, help="simulated ones")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    forget_own_settings()
    missed = 0
    if "chaos" in given.only:
        told = chaos(given.kills, given.faults, given.seed)
        missed |= conclude("chaos", told, read_targets("chaos"))
        if given.kills >= KILLS and given.faults >= FAULTS_WANTED:
            rewrite_page(PAGE, chaos_blocks(told))
    if "days" in given.only:
        days = live_through(given.days)
        print("\n".join(days.failed))
        told = figures(days)
        missed |= conclude("days24", told, read_targets("days24"))
        if given.days >= DAYS:
            rewrite_page(PAGE, days_blocks(told))
            draw(by_day(days))
    return missed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folder go as they do after Ctrl-C
    sys.exit(main())
