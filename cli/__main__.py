"""Lets `python -m cli` be `hourfeed`."""

from cli.main import run

if __name__ == "__main__":  # the workers of a replay import this file again
    run()
