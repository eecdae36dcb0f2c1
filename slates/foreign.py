"""A manifest that may come from a stranger: what it must be like, so that whoever shows it or goes by it can."""

import re
from collections.abc import Mapping
from typing import Any

from slates import codec, packed
from slates.errors import ArchiveError, CodecError
from slates.manifest import Manifest

_GENERATION_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_MOST_HOURS, _MOST_TOP_N, _MOST_COUNT = 24 * 366, 10_000, 1 << 53
_COUNTS = (
    "users",
    "posts",
    "slates",
    "segments",
    "shards",
    "slate_bytes",
    "events",
    "quarantined",
    "explored",
    "seq",
    "resumed",
)
_NUMBERS_OF_GATE = ("trained", "of_baseline", "difference", "cases", "users")
_TEXTS_OF_GATE = ("chosen", "baseline", "begin", "as_of")
_SHARES_OF_GUARDS = ("whole", "overlap", "churn", "order", "coverage", "top_share")


def read_manifest(fields: Mapping[bytes, bytes]) -> Manifest:
    """Read a manifest that may come from a stranger; raise ArchiveError where it would trouble whoever shows it."""
    try:
        manifest = Manifest.from_hash(fields)
        texts = [value.decode() for value in fields.values()]
    except (CodecError, RecursionError) as error:  # JSON can be nested too deep
        raise ArchiveError(f"the manifest cannot be read: {error}") from error
    wrong = _wrong_in(manifest)
    if not all(map(str.isprintable, texts)):
        wrong = "it holds what cannot be printed"
    if wrong:
        raise ArchiveError(f"the manifest cannot be right: {wrong}")
    return manifest


def _wrong_in(manifest: Manifest) -> str:
    if not _GENERATION_ID.fullmatch(manifest.id):
        return "its id is no id of a generation"
    if manifest.codec not in {codec.CODEC, packed.CODEC}:
        return f"codec {manifest.codec[:20]}"
    if not (0 < manifest.hours <= _MOST_HOURS and 0 < manifest.top_n <= _MOST_TOP_N):
        return f"{manifest.hours} buckets of {manifest.top_n} posts"
    if not all(0 <= getattr(manifest, name) <= _MOST_COUNT for name in _COUNTS):
        return "a count is out of bounds"
    if {manifest.user_id_type, manifest.post_id_type} - {"integer", "string", "uuid"}:
        return "a type of ids"
    if manifest.run not in {"", "full", "refresh"}:
        return "run"
    return _wrong_in_json(manifest)


def _wrong_in_json(manifest: Manifest) -> str:
    """Name the field that pages and metrics would stumble over."""
    gate: Any = manifest.gate
    if not isinstance(gate, dict) or (gate and not _is_gate(gate)):
        return "gate"
    guards: Any = manifest.guards
    if not isinstance(guards, dict) or not _are_guards(guards):
        return "guards"
    if not _are_numbers(manifest.seconds):
        return "seconds"
    told: Any = manifest.by_bucket
    if not isinstance(told, dict) or not all(_are_shares(shares, manifest.hours) for shares in told.values()):
        return "by_bucket"
    return ""


def _is_gate(gate: Mapping[str, Any]) -> bool:
    return (
        all(_is_number(gate.get(name)) for name in _NUMBERS_OF_GATE)
        and all(isinstance(gate.get(name), str) for name in _TEXTS_OF_GATE)
        and (gate.get("interval_95", "") is None or _is_number(gate.get("interval_95")))
    )


def _are_guards(guards: Mapping[str, Any]) -> bool:
    broken = guards.get("broken", [])
    return (
        all(guards.get(name) is None or _is_number(guards[name]) for name in _SHARES_OF_GUARDS)
        and all(_are_numbers(guards.get(name, {})) for name in ("rows", "left"))
        and isinstance(broken, list)
        and all(isinstance(name, str) for name in [*broken, guards.get("against", "")])
    )


def _are_numbers(given: Any) -> bool:
    return isinstance(given, dict) and all(map(_is_number, given.values()))


def _are_shares(given: Any, hours: int) -> bool:
    return isinstance(given, list) and len(given) == hours and all(map(_is_number, given))


def _is_number(given: Any) -> bool:
    """Say whether it is one that can be drawn: neither NaN nor without bounds."""
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) <= _MOST_COUNT
