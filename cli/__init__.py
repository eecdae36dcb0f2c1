"""The command line, `hourfeed`: one thin file a command."""
