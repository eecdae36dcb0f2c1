"""The event log: a compact copy of the events on disk, so that a run reads from the database only what is new."""
