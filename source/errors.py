"""Errors of the source room."""


class SourceError(Exception):
    """Something in the database or in a file prevents the work; the message says what to do."""


class TooSlowError(SourceError):
    """The database took longer than it may."""
