"""Errors of the batch."""


class BatchError(Exception):
    """A run cannot go on; the message says what to do. The live generation stays as it is."""


class SkippedError(BatchError):
    """There is nothing to do for a run of a schedule: another one is at it, or has done it."""
