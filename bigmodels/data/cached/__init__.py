"""Arrays that are cached across runs, with checksums."""
