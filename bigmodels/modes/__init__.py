"""The modes of run.py: one file for each `--mode`.

A mode is a function `run(request, *, ...)`. Its keyword arguments are its flags, of
type `str`, `int`, `float`, `bool` or `list[str]` (a flag that may be given several
times), with a literal default. The `Args:` section of its docstring is their help. A
mode that compiles nothing sets `USES_CACHE = False`; one that does not import JAX
`USES_JAX = False`. `--mode` also accepts the path of a file.
"""
