"""Certificates made for a test, by Debian's `openssl`."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from extras import cannot_be_had


@dataclass(frozen=True)
class Certificates:
    """A folder: ca.crt; server.crt and server.key for `localhost`, signed by it; other.crt of another authority."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name


def make_certificates(folder: Path) -> Certificates:
    """Make them; without the program skip the test, and fail in CI."""
    program = shutil.which("openssl")
    if program is None:
        cannot_be_had("openssl is not installed: `make tls` installs it")

    def openssl(*words: str) -> None:
        subprocess.run([program, *words], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    return Certificates(folder)
