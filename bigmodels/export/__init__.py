"""Writers of a run's weights: one file for each `--to` of `--mode=export`.

Such a file, in this folder or any `.py` file, defines `write(run, folder, *, dtype,
shard_bytes, say)`. It fills an empty folder, and raises `UserError` if the run has no
such form. `run` is at its best checkpoint; if it has an average of its parameters, its
state is that of the average.
"""
