"""The files beside weights that Hugging Face's `transformers` loads."""
