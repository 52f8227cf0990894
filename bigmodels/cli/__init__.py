"""The command line: flags, exit codes, and the request that a mode gets."""
