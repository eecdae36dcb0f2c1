"""The entry of `hourfeed`: finds the command, and turns errors into a line on standard error and an exit code."""

import importlib
import keyword
import logging
import os
import sys

import click

from batch.errors import BatchError
from cli.plain import PlainFormatter, plain_lines
from cli.system import remedy_for
from demo.errors import DemoError
from slates.errors import SlatesError
from source.errors import SourceError

COMMANDS = {
    "batch": "compute and publish one generation of slates",
    "block": "take posts down, and back",
    "demo": "a simulated network, a batch and a server, in one go",
    "diff": "say how two generations differ",
    "drain": "put events that were posted into the database",
    "erase": "remove all that is known of a user",
    "evaluate": "replay the past: how often would each ranker have shown what users went on to touch",
    "experiment": "give shares of the users feeds of their own, and compare what comes of it",
    "export": "write a generation to a file",
    "import": "put a generation from a file into Redis",
    "key": "make keys for the API",
    "load": "load users, posts and events from files into the database",
    "plan": "say what a run will take: seconds, memory, bytes in Redis",
    "promote": "give everybody what a canary was tried with",
    "release": "serve a generation that the guards have blocked",
    "rollback": "serve an earlier generation again",
    "schedule": "run refreshes and full runs on the ticks of cron expressions",
    "serve": "serve feeds over HTTP",
    "show": "show a user's slates or a post",
    "simulate": "fill the database with a simulated social network",
    "status": "say which generation is live, and how old it is",
}


class _LateGroup(click.Group):
    """Imports a command's file only when that command is asked for, so that light commands stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        file = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"cli.{file}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hourfeed", message="hourfeed %(version)s")
def main() -> None:
    """Personal feeds, computed ahead of time and served from Redis."""


def run() -> None:
    """Run the command line."""
    if logging.lastResort is not None:  # what writes the warnings of commands
        logging.lastResort.setFormatter(PlainFormatter())
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else idle OpenMP threads spin, and starve what else runs
    try:
        main.main(standalone_mode=True)
    except (SlatesError, SourceError, BatchError, DemoError) as error:
        sys.stderr.write(f"error: {plain_lines(str(error))}\n")
        sys.exit(getattr(error, "status", 1))
    except OSError as error:
        remedy = remedy_for(error)
        if remedy is None:
            raise
        sys.exit(remedy)
