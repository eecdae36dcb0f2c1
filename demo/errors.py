"""Errors of the demo room."""


class DemoError(Exception):
    """An embedded service or a simulation cannot do its work; the message says what to do."""
