"""The same layers, in forms that are fast on a TPU and that XLA does not find.

A file here has the name of the file in `layers` that defines the computation, and that
chooses the form by `core.target.platform()` when it is traced.
"""
