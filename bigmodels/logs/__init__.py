"""What a run shows: lines, a progress bar, TensorBoard, the report."""
