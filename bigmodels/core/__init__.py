"""Shared by all packages: errors, the console, paths, files, digests, tree paths."""
