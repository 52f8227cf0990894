"""Logs of a run: printed lines, a progress bar, TensorBoard, and the report."""
