"""Packages of the extras, which `make test` installs: where they cannot be had a test is skipped, but not in CI."""

import importlib
import os
from typing import Any, NoReturn

import pytest


def needs(module: str) -> Any:
    """Return a module of an extra; without it, skip the test (or the whole file), and fail in CI."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        cannot_be_had(f"{error}: `make extras`, or `make audit-tools`, installs it")


def cannot_be_had(reason: str) -> NoReturn:
    """Skip the test (or the whole file) for want of something, and fail in CI."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
