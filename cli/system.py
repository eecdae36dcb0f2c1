"""Checks the machine for what pip cannot install, and says how to get it."""

import sys

LIBGOMP_REMEDY = (
    "error: LightGBM needs the OpenMP library libgomp1, which this machine lacks.\n"
    "Install it and run the command again:\n"
    "  Debian, Ubuntu:  apt-get install libgomp1\n"
    "  Alpine:          apk add libgomp\n"
    "  Fedora, RHEL:    dnf install libgomp\n"
    "  macOS:           brew install libomp"
)


def remedy_for(error: BaseException) -> str | None:
    """Return what to tell the user when `error` is a system library that is missing, else None."""
    text = str(error)
    return LIBGOMP_REMEDY if "libgomp" in text or "libomp" in text else None


def main() -> int:
    """Import the one package that needs a system library; print the remedy and return 1 when it is missing."""
    try:
        import lightgbm  # noqa: F401 - the import is the check
    except OSError as error:
        message = remedy_for(error)
        if message is None:
            raise
        sys.stderr.write(message + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
