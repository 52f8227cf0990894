"""Whether this backend computes what it should: small programs against NumPy.

A program is one entry in a table `PROGRAMS` of a file here, each of which has one kind:
a pure function of JAX arrays, and the same in float64 NumPy. `programs.py` lists all.
"""
