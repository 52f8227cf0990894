"""Whether this backend computes what it should: small programs against NumPy.

A program is an entry in the table `PROGRAMS` of a file here, one file for each kind: a
pure function of JAX arrays, and the same in float64 NumPy. `programs.py` joins the
tables.
"""
