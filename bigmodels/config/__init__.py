"""Experiments: the record, its text form, overrides, and the code that defines it."""

from bigmodels.config.experiment import Duration, Experiment, Monitor

__all__ = ['Experiment', 'Monitor', 'Duration']
