"""Errors of the bench room."""


class BenchError(Exception):
    """A benchmark cannot go on; the message says why."""
