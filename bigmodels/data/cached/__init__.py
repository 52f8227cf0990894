"""Arrays that are cached from run to run, with checksums."""
