"""Features, each on its own axes (docs/features.md); importing this package fills the registry."""

from batch.features import (
    attention,
    bucket,
    cluster,
    neural,
    pair,
    pioneer,
    post,
    response,
    standing,
    text,
    topic,
    user,
    vectors,
)

__all__ = [
    "attention",
    "bucket",
    "cluster",
    "neural",
    "pair",
    "pioneer",
    "post",
    "response",
    "standing",
    "text",
    "topic",
    "user",
    "vectors",
]
