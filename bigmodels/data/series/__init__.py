"""Time series in files as sources of windows."""
