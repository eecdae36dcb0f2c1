"""Errors of the batch."""


class BatchError(Exception):
    """A run cannot go on; the message says what to do. The live generation stays as it is."""
