"""The command line as modes see it."""
