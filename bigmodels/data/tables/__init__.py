"""CSV files as sources: read strictly, cleaned, fitted to the training rows."""
