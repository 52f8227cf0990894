"""Writers of a run's weights: one file for each `--to` of `--mode=export`.

Such a file defines `write(run, folder, *, dtype, shard_bytes, say)`, which fills an
empty folder and raises `UserError` if the run has no such form.
"""
