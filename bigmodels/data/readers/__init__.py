"""Readers of new examples, from files or memory, for a finished run."""
