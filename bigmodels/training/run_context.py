"""What a run supplies to its configs by name: what only the opened data knows.

An argument of a model, task, optimizer or transform that is required (or `FROM_RUN` by
default) and not given, and has one of the names in `NAMES`, is supplied when the run is
built; see `config.tree.complete`. So no experiment repeats what its data says.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import statistics
from bigmodels.data.sources import DataContext, Dataset

# Name -> what it is; what the training data must be.
NAMES: dict[str, tuple[str, str]] = {
  'steps': ('the length of the run in updates', 'any'),
  'num_outputs': ('a logit for each class, or a number for each target', 'labelled, or '
                  'episodes'),
  'mean': ('the mean of the inputs by channel', 'numbers in a column `inputs`'),
  'std': ('the standard deviation of the inputs by channel', 'numbers in a column '
          '`inputs`'),
  'whitening': ('filters that whiten patches of the inputs', 'images'),
  'target_mean': ('the mean of the labels by target', 'labelled'),
  'target_std': ('the standard deviation of the labels by target', 'labelled'),
  'horizon': ('the number of steps of a forecast', 'labelled by series, such as '
              'data.Series'),
  'targets': ('the number of variables that are forecast', 'labelled by series, such '
              'as data.Series'),
  'adjacency': ('the weights of the edges between targets', 'data.Series with a graph'),
  'class_counts': ('() -> the training examples of each class, by name', 'any'),
  'examples': ('n -> the first n raw inputs', 'in a column `inputs`'),
  'open_run': ('path -> the finished `Run` there', 'any'),
  'groups': ('the names of the groups of examples', 'in groups'),
  'environment': ('what agents act in', 'data.Episodes of one'),
  'tokenizer': ('what made the tokens', 'text that a tokenizer has read'),
  'vocabulary': ('the number of tokens', 'text that a tokenizer has read'),
  'prompts': ('the captions of each class', 'data.ClassCaptions'),
  'rate': ('the samples per second', 'data.Waveforms'),
  'scale': ('how many times larger labels are than inputs', 'data.Downscaled'),
  'training': ('the opened training split, a `Dataset`', 'any'),
  'ngram_counts': ('n -> how often each sequence of up to n labels occurs in training',
                   'labelled by rows of tokens'),
  'catalog': ('the users and items', 'data.Interactions or data.Histories'),
  'num_users': ('the number of users', 'data.Interactions or data.Histories'),
  'num_items': ('the number of items', 'data.Interactions or data.Histories'),
  'num_categories': ('the number of categories of all features of users and items',
                     'data.Interactions or data.Histories'),
}


def supplied(train: Dataset, context: DataContext, steps: int
             ) -> dict[str, Callable[[], Any]]:
  """Name -> a function that works out what is supplied, for all of `NAMES`.

  Args:
    train: the opened training split.
    context: keeps what is fitted with the run.
    steps: length of the run.

  Returns:
    functions that raise `UserError` where the data is not as it must be.
  """
  examples = train  # what statistics are fitted to
  if train.shapes_only:  # one is like all
    examples = train._replace(length=1, load=lambda: train.read(np.zeros(1, int)))
  columns = train.read(np.zeros(1, int))

  def inputs(index):
    return context.keep(
      'inputs', lambda: statistics.channel_statistics(examples))[index]

  def targets(index):
    return context.keep(
      'targets', lambda: statistics.target_statistics(examples))[index]

  def class_counts():
    return context.keep('class counts', lambda: statistics.class_counts(train))

  def ngram_counts(order):
    return context.keep(
      f'{order}-grams', lambda: statistics.ngram_counts(train, order))

  def first_inputs(count):
    return train.read(np.arange(min(count, train.length)))['inputs']

  found: dict[str, Callable[[], Any]] = {
    'steps': lambda: steps, 'open_run': lambda: context.open_run,
    'class_counts': lambda: class_counts, 'training': lambda: train}
  if 'inputs' in columns:
    found |= {
      'mean': lambda: inputs(0), 'std': lambda: inputs(1),
      'whitening': lambda: context.keep('whitening', lambda: statistics.whitening(
        examples, inputs(0), inputs(1))),
      'examples': lambda: first_inputs}
  if 'labels' in columns:
    found |= {'target_mean': lambda: targets(0), 'target_std': lambda: targets(1),
              'ngram_counts': lambda: ngram_counts}
  if 'labels' in columns and columns['labels'].ndim == 3:
    found |= {name: functools.partial(columns['labels'].shape.__getitem__, axis)
              for axis, name in ((1, 'horizon'), (2, 'targets'))}
  if 'labels' in columns or train.classes is not None:  # actions are classes, too
    found['num_outputs'] = lambda: _num_outputs(train)
  found |= train.provides
  return {name: found.get(name) or functools.partial(_absent, name) for name in NAMES}


def _absent(name: str) -> Any:
  what, needed = NAMES[name]
  raise UserError(f'the experiment needs `{name}`, {what}, so that its training data '
                  f'must be {needed}')


def _num_outputs(train: Dataset) -> int:
  if train.classes is not None:
    return len(train.classes)
  return math.prod(train.load()['labels'].shape[1:])
