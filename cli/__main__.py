"""Lets `python -m cli` be `hourfeed`."""

from cli.main import run

run()
