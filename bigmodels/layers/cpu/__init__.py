"""The same layers, in forms that are fast in XLA's CPU backend.

A file here has the name of the file in `layers` that defines the computation, and that
chooses the form by `core.target.platform()` when it is traced.
"""
