"""Errors of the event log."""


class CorruptLogError(Exception):
    """A file of the log is not what its manifest says; the log must be read anew."""
