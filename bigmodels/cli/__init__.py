"""The command line: flags, exit codes, and the request passed to a mode."""
