"""The SQL database: its schema, how files are loaded into it, how a batch reads it."""
