"""Charts as inline SVG, and their style: for reports and pages that need nothing from elsewhere."""

from pathlib import Path

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
"""Colours of light and dark as variables, and how the parts of a chart look."""
