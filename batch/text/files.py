"""Small things about packages and files that embedders share."""

from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path


def require(*packages: str) -> None:
    """Raise ImportError for the first package that is not installed; nothing is imported."""
    for package in packages:
        if find_spec(package) is None:
            msg = f"the package {package} is not installed"
            raise ImportError(msg)


def digest_of(files: Sequence[Path]) -> str:
    """Return the first 16 hexadecimal digits of SHA-256 over names and contents of files, in the order of names."""
    total = sha256()
    for path in sorted(files, key=lambda path: path.name):
        total.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as content:
            while block := content.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:16]
