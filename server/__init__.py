"""The look-up service: HTTP only."""
