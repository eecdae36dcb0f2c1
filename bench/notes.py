"""What a benchmark hears of the stages that it runs: the notes alone."""


class Silent:
    """Prints what the operator should know, and passes over progress."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Pass over progress."""

    def note(self, text: str) -> None:
        """Print a note."""
        print(f"note: {text}", flush=True)
