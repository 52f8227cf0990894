"""Functional deep learning research in JAX: one small file an experiment."""

__version__ = '0.1.0'
