"""The gate's verdict in words: what the field `gate` of a manifest says, on a line."""

from collections.abc import Mapping
from typing import Any


def verdict_line(gate: Mapping[str, Any]) -> str:
    """Say which ranker was chosen, by how much and on what; `gate` as in the manifest."""
    if not gate:
        return "not compared"
    spread = "" if gate["interval_95"] is None else f" ± {gate['interval_95']:.4f} (95 %)"
    return (
        f"{gate['chosen']} chosen: hitrate@5 {gate['trained']:.4f} of the trained ranker, {gate['of_baseline']:.4f} of "
        f"{gate['baseline']}, difference {gate['difference']:+.4f}{spread}, on {gate['cases']:,} cases of "
        f"{gate['users']:,} users from {gate['begin']} to {gate['as_of']}"
    )
