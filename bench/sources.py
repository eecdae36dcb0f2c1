"""Whether the product's code stayed the same during a benchmark: figures of two versions mixed tell of neither."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("batch", "cli", "demo", "server", "slates", "source")


def digest_sources(root: Path = ROOT) -> str:
    """Return a digest of the Python files of the product's packages, names and contents."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for part in (str(path.relative_to(root)).encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
