"""Benchmarks: each measures figures, writes them to `bench/results`, and holds them against `bench/targets.toml`."""
