"""The look-up while an experiment runs: a user's arm, and a feed of that arm's generations."""

import logging
from typing import NamedTuple

from redis import Redis

from slates.circuit import Circuit
from slates.errors import CodecError
from slates.experiment import CONTROL, Experiment, decode_experiment, keys_of_arm
from slates.feed import Feed, NoFeedError
from slates.keys import Keys
from slates.lookup import Lookup

_log = logging.getLogger(__name__)


class Served(NamedTuple):
    """A feed, and the experiment and arm by which it was chosen; None where none runs, or the arm had no feed."""

    feed: Feed
    experiment: Experiment | None
    arm: str | None


class ArmsLookup:
    """Finds feeds by the experiment that runs, if one does; any number of threads may share one.

    Which experiment runs is read in the round trip of each look-up. Where it is another than was known, the look-up is
    done once more, so that no request after the start or the end of one is answered as before.
    """

    def __init__(self, redis: Redis, keys: Keys, base: Lookup, circuit: Circuit | None = None) -> None:
        self._redis = redis
        self._keys = keys
        self._circuit = circuit
        self._known: tuple[bytes | None, Experiment | None] = (None, None)
        self._lookups = {CONTROL: base}
        base.on_experiment = self._learn

    def feed(self, user_id: str, bucket: int, limit: int) -> Served:
        """Return the feed of the user's arm, or where that has none everybody's; raise NoFeedError as Lookup does."""
        for _ in range(2):
            value, experiment = self._known
            served = self._served(experiment, user_id, bucket, limit)
            if self._known[0] == value:
                break
        return served

    def _served(self, experiment: Experiment | None, user_id: str, bucket: int, limit: int) -> Served:
        base = self._lookups[CONTROL]
        if experiment is None:
            return Served(base.feed(user_id, bucket, limit), None, None)
        arm = experiment.arm_of(user_id)
        try:
            return Served(self._lookup(arm).feed(user_id, bucket, limit), experiment, arm)
        except NoFeedError:
            if arm == CONTROL:
                raise
            return Served(base.feed(user_id, bucket, limit), experiment, None)

    def _lookup(self, arm: str) -> Lookup:
        if arm not in self._lookups:
            lookup = Lookup(
                self._redis, keys_of_arm(self._keys, arm), circuit=self._circuit, wire=self._lookups[CONTROL].wire
            )
            lookup.on_experiment = self._learn
            self._lookups[arm] = lookup
        return self._lookups[arm]

    def _learn(self, value: bytes | None) -> None:
        if value == self._known[0]:
            return
        experiment = None
        try:
            experiment = decode_experiment(value) if value else None
        except CodecError as error:
            _log.error("no experiment runs: %s", error)
        self._known = value, experiment
