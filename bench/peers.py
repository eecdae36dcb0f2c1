"""Models of implicit and RecTools on the cases of a replay, in a Python of their own.

RecTools wants other versions of packages than ours and is no part of the product, so an environment is made for the
occasion in a temporary folder. Cases go to it, and lists of posts come back, as .npz files; peer_models.py is the other
side.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.replay import ReplayCases
from batch.tables import Tables
from bench.errors import BenchError

REQUIREMENTS = ("rectools==0.19.0",)
"""Brings implicit 0.7.3 with it, under the name pm-implicit."""
REFIT_S = 24 * 3600
_SCRIPT = Path(__file__).with_name("peer_models.py")


def make_environment(folder: Path) -> Path:
    """Make an environment with the peers in it; return its Python. Raises BenchError where they cannot be had."""
    python = folder / "peers" / "bin" / "python"
    _run([sys.executable, "-m", "venv", python.parent.parent], "no environment for the peers")
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *REQUIREMENTS,
    ]
    _run(install, f"{', '.join(REQUIREMENTS)} cannot be installed")
    return python


def ask_peers(
    python: Path, tables: Tables, cases: Sequence[ReplayCases], begin_s: int, k: int, folder: Path
) -> list[dict[str, NDArray[np.int32]]]:
    """Return what each peer would have shown in the cases of several replays: int32 (n_cases, k), -1 for none.

    Each is fitted at `begin_s` and every day after, on what came before; posts that a user had touched before the
    refresh of the case are left out, as are hidden ones and those that did not exist.
    """
    request, reply = folder / "request.npz", folder / "reply.npz"
    tau_s = np.concatenate([of.tau_s for of in cases])
    np.savez(
        request,
        at_s=tables.events.at_s,
        user=tables.events.user,
        post=tables.events.post,
        born_s=tables.posts.born_s,
        hidden=tables.posts.hidden,
        n_users=len(tables.users.ids),
        case_user=np.concatenate([of.user for of in cases]),
        case_tau_s=tau_s,
        case_fit_s=begin_s + (tau_s - begin_s) // REFIT_S * REFIT_S,
        k=k,
    )
    _run([python, _SCRIPT, request, reply], "the peers' models broke off")
    with np.load(reply) as answered:
        ends = np.cumsum([len(of) for of in cases])[:-1]
        parts = {name: np.split(answered[name], ends) for name in answered.files}
    return [{name: of[at] for name, of in parts.items()} for at in range(len(cases))]


def _run(command: Sequence[str | Path], trouble: str) -> None:
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment | one_thread, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        msg = f"{trouble}:\n{last}"
        raise BenchError(msg)
