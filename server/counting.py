"""The folder in which gunicorn's workers count together: made by the server as it starts, removed as it ends."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from server.metrics import FOLDER, worker_ended

_PREFIX = "hourfeed-metrics-"


def make_folder(server: Any) -> None:  # noqa: ARG001 - gunicorn's hook `on_starting`
    """Make it, and name it to the workers; a folder that the operator has named is left to the operator."""
    given = os.environ.get(FOLDER)
    if given is None or Path(given).name.startswith(_PREFIX):  # that of the server which this one takes over from
        os.environ[FOLDER] = tempfile.mkdtemp(prefix=_PREFIX)


def remove_folder(server: Any) -> None:  # noqa: ARG001 - gunicorn's hook `on_exit`
    """Remove what `make_folder` made."""
    folder = Path(os.environ.get(FOLDER, ""))
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def forget_worker(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's hook `child_exit`
    """Take a worker that has ended out of the gauges."""
    worker_ended(worker.pid)
