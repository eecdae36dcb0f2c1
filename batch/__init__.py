"""The batch: read, features, candidates, rank, slate, publish."""
