"""CSV files as sources: strict parsing, and cleaning fitted to the training rows."""
