"""A batch that is killed in the middle of publishing: readers keep the old generation whole, and the next run works."""

import os
import signal
import subprocess
import time

from bench.errors import BenchError
from bench.feeds import Answer, Case, ask_all, read_cases
from bench.generation import differing_keys, digest_slates, keys_of
from bench.runs import DESKDROP, Database, K, Run, batch, load
from bench.service import Service, serving
from slates.generations import list_generations
from slates.manifest import Manifest

NEXT_DAY = "2016-09-02T00:00"
SMALL_BATCH = "20"
"""Users in a round trip, so that publishing takes long enough to be met in its middle."""
STEP_S = 0.002
WITHIN_S = 180.0


def kill(run: Run) -> dict[str, float]:
    """Publish, kill the next day's run while it publishes, ask again, then let that day's run succeed."""
    cases = read_cases(run.cases(DESKDROP, positive="view,like"))
    with serving(run.folder / "kill") as service:
        database, _ = load(run, service, DESKDROP, "sqlite", "kill")
        old, _ = batch(run, service, database, DESKDROP.as_of, cases[0])
        slates, answers = digest_slates(service.redis, service.keys, old.id), ask_all(service.url, cases, K)

        killed, users_written = _kill_in_the_middle(run, service, database, old)
        figures: dict[str, float] = {
            "users": old.users,
            "users_written": users_written,
            "cases": len(cases),
            "unanswered": sum(answer.status != 200 or answer.generation != old.id for answer in answers),
            "changed_keys": len(differing_keys(slates, digest_slates(service.redis, service.keys, old.id))),
            "changed_answers": _changed(answers, ask_all(service.url, cases, K)),
        }
        run.say(
            f"kill: after it {figures['changed_answers']} of {len(cases)} answers and {figures['changed_keys']} of "
            f"{len(slates):,} keys of the old generation have changed"
        )
        figures |= _next_run(run, service, database, killed, cases[0])
    return {f"kill.{name}": value for name, value in figures.items()}


def _kill_in_the_middle(run: Run, service: Service, database: Database, old: Manifest) -> tuple[str, int]:
    """Start a run, SIGKILL it while users' slates are being written; return its generation and the users written."""
    settings = {**database.environment, "HOURFEED_PUBLISH_BATCH": SMALL_BATCH}
    process = service.start("batch", "--as-of", NEXT_DAY, "--hours", "24", **settings)
    try:
        killed = _wait_for_slates(service, process, old)
        users = _step_to_the_middle(service, process, killed, old.users)
    finally:
        process.kill()
        process.wait()
    state = {manifest.id: manifest.state for manifest in list_generations(service.redis, service.keys)}[killed]
    run.say(f"kill: SIGKILL with {users:,} of {old.users:,} users written, state {state}")
    if users >= old.users or state != "writing":
        msg = f"generation {killed} was {state} with {users} users written: the kill came too late to tell anything"
        raise BenchError(msg)
    return killed, users


def _wait_for_slates(service: Service, process: subprocess.Popen[bytes], old: Manifest) -> str:
    """Return the id of the generation that `process` writes, as soon as it holds a user's slates."""
    deadline = time.monotonic() + WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        for manifest in list_generations(service.redis, service.keys):
            if manifest.id != old.id and next(keys_of(service.redis, service.keys, manifest.id, "user:"), None):
                return manifest.id
        time.sleep(STEP_S)
    msg = f"the batch to be killed wrote no slates within {WITHIN_S:g} s (exit status {process.poll()})"
    raise BenchError(msg)


def _step_to_the_middle(service: Service, process: subprocess.Popen[bytes], generation: str, of_users: int) -> int:
    """Leave `process` stopped once it has written at least half of the users; return how many it has."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)  # what is counted now is what it will have written
        users = sum(1 for _ in keys_of(service.redis, service.keys, generation, "user:"))
        if users >= of_users // 2:
            return users
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(STEP_S)


def _changed(before: list[Answer], after: list[Answer]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


def _next_run(run: Run, service: Service, database: Database, killed: str, probe: Case) -> dict[str, float]:
    """Run the killed day again, twice: once after the kill, once undisturbed, to compare with."""
    after, after_s = batch(run, service, database, NEXT_DAY, probe)
    left_over = sum(1 for _ in keys_of(service.redis, service.keys, killed))
    slates = digest_slates(service.redis, service.keys, after.id)
    undisturbed, _ = batch(run, service, database, NEXT_DAY, probe)
    apart = differing_keys(slates, digest_slates(service.redis, service.keys, undisturbed.id))
    run.say(f"kill: the next run took {after_s:.1f} s; {len(apart)} of {len(slates):,} keys differ from another run's")
    return {
        "next_run.batch_s": round(after_s, 2),
        "next_run.differing_keys": len(apart),
        "next_run.left_over_keys": left_over,
    }
