"""The neural recommender: two towers for the pair, a small network for the hour (docs/decisions/0013-neural.md)."""
