"""Watches over a run: ends it when it outlasts a deadline, or is asked to stop; at a safe point, else by force.

A run looks between stages, between shards and at every step that it tells of, and raises there. Where it hangs in a
call that does not come back (a database that never answers), a thread ends the process: it gives the lock back and says
why first. Either way nothing is published, and what is written stays for the next run to go on from.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from batch.errors import BatchError

WHOLE = "run"
"""Names the deadline of a run as a whole."""
GRACE_S = 20.0
"""Seconds that a run has to come to a safe point. Process managers wait 30 s or more before they kill."""
_LAST_WORDS_S = 10.0
"""Seconds for what is done before the process is ended by force."""


class EndedError(BatchError):
    """A run was ended from outside. `status` : of the process."""

    status = 1


class DeadlineError(EndedError):
    """A run, or one of its stages, took longer than it may."""


class StoppedError(EndedError):
    """A run was asked to stop, by the signal of that number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"it was stopped by {signal.Signals(number).name}, and published nothing")
        self.status = 128 + number


class Watch:
    """Watches over one run; safe to ask from any thread.

    deadlines : stage → seconds, or WHOLE for all of them. last_words : called with the reason before the process is
    ended by force, each in its turn.
    """

    def __init__(
        self,
        deadlines: Mapping[str, float] | None = None,
        *,
        grace_s: float = GRACE_S,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._deadlines = dict(deadlines or {})
        self._grace_s = grace_s
        self._end_process = end_process
        self._changed = threading.Condition()
        self._begun = time.monotonic()
        self._stage_begun = self._begun
        self._ending: EndedError | None = None
        self._force_at = float("inf")
        self._over = False
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.stage_now = ""
        self.last_words: list[Callable[[EndedError], object]] = []

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    def check(self) -> None:
        """Raise EndedError where the run is to end: this is a safe point."""
        if self._ending is not None:
            raise self._ending

    def enter(self, stage: str) -> None:
        """Say that a stage begins, and with it its time; raise as `check` does."""
        self.check()
        with self._changed:
            self.stage_now, self._stage_begun = stage, time.monotonic()
            self._changed.notify()

    def end(self, error: EndedError) -> None:
        """Have the run end at its next safe point, or by force after the grace; asked twice, at once."""
        with self._changed:
            if self._ending is None:
                self._ending, self._force_at = error, time.monotonic() + self._grace_s
            else:
                self._force_at = time.monotonic()
            self._changed.notify()

    def _look(self) -> None:
        while True:
            with self._changed:
                if self._over:
                    return
                now, (at, error) = time.monotonic(), self._next_deadline()
                if self._ending is not None:
                    at = self._force_at
                if now < at:
                    self._changed.wait(min(at - now, threading.TIMEOUT_MAX))
                    continue
            if self._ending is None and error is not None:
                self.end(error)
            elif self._ending is not None:
                self._end_by_force(self._ending)
                return

    def _next_deadline(self) -> tuple[float, DeadlineError | None]:
        """Return when the next deadline passes, and what to say then."""
        stage, found = self.stage_now, (float("inf"), None)
        limits = [(WHOLE, self._begun, "the run"), (stage, self._stage_begun, f"the stage {stage}")]
        candidates = [found] + [
            (begun + self._deadlines[name], _too_long(what, stage, name, self._deadlines[name]))
            for name, begun, what in limits
            if name in self._deadlines
        ]
        return min(candidates, key=lambda entry: entry[0])

    def _end_by_force(self, error: EndedError) -> None:
        def speak() -> None:
            for words in self.last_words:
                with suppress(Exception):  # whatever is away, the process ends
                    words(error)

        speaker = threading.Thread(target=speak, name="last words", daemon=True)
        speaker.start()
        speaker.join(_LAST_WORDS_S)
        self._end_process(error.status)


def _too_long(what: str, stage: str, name: str, limit_s: float) -> DeadlineError:
    where = f", in the stage {stage}" if name == WHOLE and stage else ""
    return DeadlineError(
        f"{what} took longer than deadlines.{name} = {limit_s:g} seconds allows{where}, so nothing is published; the "
        "live generation is untouched"
    )


@contextmanager
def ended_by_signals(watch: Watch) -> Iterator[None]:
    """Have SIGTERM and SIGINT end the run while the block lasts; to be entered in the main thread.

    A handler in Python would wait for a call that does not come back. The number that the interpreter writes into a
    socket at once, from C, does not.
    """
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while heard := ours.recv(1):
            if heard[0] in numbers:
                watch.end(StoppedError(heard[0]))

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        theirs.close()
        listener.join()
        ours.close()
