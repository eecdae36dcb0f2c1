"""A canary: a generation that a share of the users gets before it goes live for all, or does not."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis

from slates.cluster import control
from slates.errors import NoGenerationError
from slates.experiment import (
    CANARY,
    CONTROL,
    Experiment,
    ExperimentError,
    encode_experiment,
    keys_of_arm,
    running_experiment,
)
from slates.generations import execute_unless_published, read_manifest
from slates.keys import Keys
from slates.manifest import Manifest
from slates.refusal import refusal_explained
from slates.standing import read_live_id, read_standing


def refuse_beside_experiment(redis: Redis, keys: Keys) -> None:
    """Raise ExperimentError where an experiment runs: its users cannot be in two of them."""
    running = running_experiment(redis, keys)
    if running is not None and not running.is_canary:
        msg = f"the experiment {running.name} runs, and a canary would take users of it; end it first"
        raise ExperimentError(msg)


def start_canary(redis: Redis, keys: Keys, share: float) -> None:
    """Give a share of the users what the arm `canary` has, in the place of another canary if one runs.

    Raises ExperimentError where nothing is live that it could be held against, or an experiment runs.
    """
    refuse_beside_experiment(redis, keys)
    if not read_live_id(redis, keys):
        raise ExperimentError("no generation is live for the other users; publish one with `hourfeed batch`")
    generation = read_live_id(redis, keys_of_arm(keys, CANARY))
    shares = {CONTROL: 1 - share, CANARY: share}
    experiment = Experiment(CANARY, generation, shares, datetime.now(UTC))  # other users for every canary
    control(redis, keys).set(keys.experiment, encode_experiment(experiment))


def promote(redis: Redis, keys: Keys) -> Manifest:
    """Make the canary's generation live for all, in one transaction, and return its manifest.

    Raises NoGenerationError when no canary runs, SlatesError when a run publishes at the same instant.
    """
    own = keys_of_arm(keys, CANARY)
    with refusal_explained(), control(redis, keys).pipeline() as transaction:
        pipeline = cast("Any", transaction)
        pipeline.watch(keys.experiment, keys.current, own.current)
        running = running_experiment(redis, keys)
        target_id, live_id = read_live_id(pipeline, own), read_live_id(pipeline, keys)
        target = read_manifest(redis, keys, target_id) if target_id else None
        if target is None or running is None or not running.is_canary:
            raise NoGenerationError("no canary runs; start one with `hourfeed batch --canary 0.1`")
        pipeline.watch(keys.generation(live_id), keys.generation(target_id))
        live = read_standing(pipeline, keys, live_id)
        pipeline.multi()
        pipeline.hset(keys.generation(target_id), mapping={"state": "live", "previous": live_id})
        if live.state:
            pipeline.hset(keys.generation(live_id), "state", "superseded")
        pipeline.set(keys.current, target_id)
        pipeline.zadd(keys.generations, {target_id: target.started_at.timestamp()})
        pipeline.zrem(own.generations, target_id)
        pipeline.delete(own.current, keys.experiment)
        execute_unless_published(pipeline, "promoted")
    return replace(target, state="live", previous=live_id)
