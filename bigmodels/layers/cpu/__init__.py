"""The same layers, in the form in which XLA's CPU backend computes them fast.

A file here has the name of the one in `layers` that defines what is computed, and that
chooses the form by `jax.default_backend()` when it is traced.
"""
