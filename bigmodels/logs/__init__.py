"""Logs of a run: lines and a progress bar, TensorBoard, the report."""
