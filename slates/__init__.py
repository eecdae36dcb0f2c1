"""The contract with Redis: everything that is known of what lies there, shared by the batch and the server."""
