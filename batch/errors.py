"""Errors of the batch."""


class BatchError(Exception):
    """A run cannot go on; the message says what to do. The live generation stays as it is."""


class SkippedError(BatchError):
    """There is nothing to do for a run of a schedule: another one is at it, or has done it."""


class BlockedError(BatchError):
    """A generation was written whole, and a guard keeps it from going live; the message says why and what to do."""

    status = 3
    """The exit status: the same run once more would be blocked once more."""


class LostTrainingError(BatchError):
    """Workers that were to grow trees together did not; this process can grow them alone."""
