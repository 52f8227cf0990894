"""Logs of a run: printed lines, a progress bar, TensorBoard, trackers, the report."""
