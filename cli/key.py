"""`hourfeed key`: make keys for the API."""

import click

from server.keys import ROLES, hash_of, new_key


@click.group("key")
def command() -> None:
    """Make keys that callers of the API show."""


@command.command("new")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its holder may do.")
def new(role: str) -> None:
    """Print a new key and its hash. The key is for the caller, the hash for the server's settings.

    Nothing is stored: the key cannot be shown again. Each role may do what those before it may. To replace a key,
    give the server both hashes until every caller has the new one.
    """
    chosen = next(known for known in ROLES if known == role)
    key = new_key(chosen)
    click.echo(f"key   {key}\nhash  {hash_of(key)}")
    click.echo(
        f"\nGive the key to its holder, who sends it as `Authorization: Bearer KEY`; the hash goes into "
        f"HOURFEED_{role.upper()}_KEYS, or {role}_keys in hourfeed.toml, beside those that are there.",
        err=True,
    )
