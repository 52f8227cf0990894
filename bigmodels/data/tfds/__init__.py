"""Datasets of tensorflow-datasets as sources, read without TensorFlow."""
