"""What can be done with an experiment: one file for each `--mode` of run.py.

Each has `run(request)`.
"""
