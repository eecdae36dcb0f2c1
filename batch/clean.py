"""Keeps the state folder from growing: old models and quarantine files go, and what killed runs left unfinished."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from batch.model import remove_old_models

KEEP_MODELS = 10
"""Models that stay, those saved last: to score with again, and to look into."""
KEEP_QUARANTINE = 100
"""Quarantine files that stay, those written last."""
QUARANTINE_DAYS = 30
"""Days after which a quarantine file goes."""
QUARANTINE_BYTES = 64_000_000
"""A quarantine file that grows beyond that is put aside, in the place of the one that was before."""
_UNFINISHED_S = 3600.0
"""Seconds after which nobody can be at an unfinished file any more."""
_UNFINISHED = (".*.[0-9]*", ".gate.*.json", "models/.*.[0-9]*", "quarantine/*.new")
"""What is written beside its place, and renamed once it is whole."""
_ASIDE = ".before.csv"


def clean_state(state: Path, now_s: float) -> list[str]:
    """Remove what is old or was left; return what could not be done, for the operator to hear."""
    troubles = []
    if (state / "models").is_dir():
        remove_old_models(state / "models", KEEP_MODELS)
    for step in (_unfinished, _old_quarantine):
        try:
            for path in step(state, now_s):
                _remove(path)
        except OSError as error:
            troubles.append(f"the state folder cannot be cleaned: {error}")
    try:
        _put_aside(state / "quarantine")
    except OSError as error:
        troubles.append(f"a large quarantine file stays: {error}")
    return troubles


def _unfinished(state: Path, now_s: float) -> Iterator[Path]:
    for pattern in _UNFINISHED:
        for path in sorted(state.glob(pattern)):
            if _age_s(path, now_s) > _UNFINISHED_S:
                yield path


def _old_quarantine(state: Path, now_s: float) -> list[Path]:
    files = [path for path in _within(state / "quarantine") if path.suffix == ".csv"]
    old = [path for path in files if _age_s(path, now_s) > QUARANTINE_DAYS * 86_400]
    return old + _but_latest((path for path in files if path not in old), KEEP_QUARANTINE)


def _put_aside(folder: Path) -> None:
    for path in _within(folder):
        if path.suffix == ".csv" and not path.name.endswith(_ASIDE) and path.stat().st_size > QUARANTINE_BYTES:
            path.replace(path.with_name(path.name.removesuffix(".csv") + _ASIDE))


def _within(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _but_latest(paths: Iterable[Path], keep: int) -> list[Path]:
    latest_first = sorted(paths, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)
    return latest_first[keep:]


def _age_s(path: Path, now_s: float) -> float:
    return now_s - path.stat().st_mtime


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
