"""Experiments: the record, its text, overrides, and the code that makes it."""

from bigmodels.config.experiment import Duration, Experiment, Monitor

__all__ = ['Experiment', 'Monitor', 'Duration']
