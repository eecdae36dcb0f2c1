"""Text vectors and text clusters: what is fitted on the texts of posts, and becomes part of a model (docs/text.md)."""
