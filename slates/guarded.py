"""What the field `guards` of a manifest says, flat for gauges and in words for people."""

from slates.manifest import Manifest

_SHARES = ("whole", "overlap", "churn", "order", "coverage", "top_share")


def guard_values(manifest: Manifest) -> dict[str, float]:
    """Return what was measured, by name: shares from 0 to 1, `order` from -1; `rows` is the least that is left."""
    guards = manifest.guards
    found = {name: float(guards[name]) for name in _SHARES if guards.get(name) is not None}
    if guards.get("left"):
        found["rows"] = min(guards["left"].values())
    return found


def guards_line(manifest: Manifest) -> str:
    """Say it on a line, and what was published against a guard."""
    values = guard_values(manifest)
    if not values:
        return "not measured"
    said = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    against = f" against {manifest.guards['against']}" if "against" in manifest.guards else ""
    broken = ", ".join(manifest.guards.get("broken", ()))
    how = "released" if manifest.guards.get("released") else "forced" if manifest.guards.get("forced") else "blocked"
    return f"{said}{against}" + (f"; {how}, broken: {broken}" if broken else "")
