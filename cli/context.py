"""What every command begins with: the settings, and from them the connections it needs."""

import sys

from pydantic import ValidationError

from batch.settings import BatchSettings


def read_settings(**given: object) -> BatchSettings:
    """Read the settings; end the process with a line for each wrong one, naming it and what is allowed."""
    try:
        return BatchSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            sys.stderr.write(f"error: setting {name} = {problem['input']!r}: {problem['msg']}\n")
        sys.exit(2)
