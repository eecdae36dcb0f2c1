"""Features, each on its own axes (docs/features.md); importing this package fills the registry."""

from batch.features import bucket, neural, pair, post, topic, user, vectors

__all__ = ["bucket", "neural", "pair", "post", "topic", "user", "vectors"]
