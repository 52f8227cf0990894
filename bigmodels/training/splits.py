"""Checks of the splits of an experiment against each other: rows, scaling, classes."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from bigmodels.config import tree
from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.data import origins
from bigmodels.data.batches import Batches, Loader
from bigmodels.data.sources import DataContext, Dataset


def check_apart(every: Mapping[str, Batches], opened: Mapping[str, Dataset],
                context: DataContext) -> None:
  """Refuses splits that share rows of a source, or that are cut from it in two ways.

  Splits whose names begin with the same word may share rows, which is printed: the
  name of `train_again` says what its score means; see `Experiment.evals`.

  Args:
    every: split -> its `Batches`.
    opened: split -> its source, opened.
    context: prints and keeps the lines.

  Raises:
    UserError: naming both splits, the source, and the settings they differ in.
  """
  for ours, theirs in itertools.combinations(opened, 2):
    one, other = opened[ours].origin, opened[theirs].origin
    if one is None or other is None:
      continue
    apart = ours.partition('_')[0] != theirs.partition('_')[0]
    differing = [name for name, value in one.settings.items()
                 if name in other.settings and other.settings[name] != value]
    source, count = origins.shared(one, other)
    if differing and (apart or count):
      raise UserError(f'{theirs} and {ours} are cut from one source in two ways'
                      f'{_difference(every, ours, theirs, differing)}')
    if count and apart:
      raise UserError(
        f'{theirs} and {ours} share {count:,} row{"s" * (count != 1)} of {source}, '
        f'which makes scores on {theirs} meaningless'
        f'{_difference(every, ours, theirs)}; give them splits that are apart, or call '
        f'one {ours}_again if this is meant')
    again = origins.copies(one, other) if apart else 0
    if again:
      raise UserError(
        f'{again:,} of {opened[theirs].length:,} rows of {theirs} equal one of {ours} '
        'in all features, though their files differ, which makes scores on '
        f'{theirs} meaningless; leave them out, or set duplicates=keep for both if '
        'they are different cases')
    if count:
      context.note(f'{theirs} is on rows of {ours}, as its name says: {count:,} rows '
                   f'of {source}')


def _difference(every: Mapping[str, Batches], ours: str, theirs: str,
                differing: Sequence[str] = ()) -> str:
  """The fields that two sources differ in, as flags, and how to make them equal."""
  paths = {name: 'train' if name == 'train' else f'evals.{name}'
           for name in (ours, theirs)}
  settings = {name: dict(tree.describe(every[name].source, 'source'))
              for name in paths}
  one, other = settings[ours], settings[theirs]
  fields = [field for field in {**one, **other} if one.get(field) != other.get(field)]
  chosen = [field for field in fields if field.endswith('selected') != bool(differing)]
  fields = chosen if chosen or differing else fields
  fields = [field for field in fields if field in one and field in other] or fields
  if not fields:
    return ''
  flags = {name: ' '.join(
    f'--config.{path}.{field}={settings[name].get(field, "(absent)")}'
    for field in fields[:2]) for name, path in paths.items()}
  return f': {flags[ours]}, but {flags[theirs]}' + (
    '; set both to the same, and so for every other split' if differing else '')


def say_counts(loaders: Mapping[str, Loader], context: DataContext) -> None:
  """Prints the examples of every split with classes, and of every class.

  Args:
    loaders: split -> its loader; labels that are not known yet are not read.
    context: prints and keeps the lines.
  """
  for name, loader in loaders.items():
    dataset = loader.dataset
    labels = loader.labels
    if labels is None and dataset.labels is not None:
      labels = dataset.labels()
    if dataset.classes is None or dataset.shapes_only or labels is None or (
      np.ndim(labels) != 1):
      continue
    counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
    counts = counts[: len(dataset.classes)]  # other labels are refused later
    found = listed((f'{one_line(c, 40)} {n:,}' for c, n in zip(
      dataset.classes, counts, strict=True)), 10) if len(counts) <= 20 else (
        f'{len(counts):,} classes, {counts.min():,} to {counts.max():,} of each')
    context.note(f'{name}: {dataset.length:,} examples: {found}')


def check_scaling(every: Mapping[str, Batches], context: DataContext) -> None:
  """Warns of evaluations whose inputs are standardized otherwise than in training.

  Args:
    every: split -> its `Batches`.
    context: prints and keeps the warnings.
  """

  def scaling(b: Batches) -> list[str]:
    return [f'{path.removeprefix(".")}={text}' if path else text
            for t in b.transforms if {'mean', 'std'} <= tree.argument_names(t)
            for path, text in tree.describe(t)]

  ours = scaling(every['train'])
  for name, b in every.items():
    if (theirs := scaling(b)) != ours:
      context.note(
        f'warning: {name}: its inputs are scaled by {", ".join(theirs) or "nothing"}, '
        f'those of train by {", ".join(ours) or "nothing"}; '
        f'--config.evals.{name}.transforms and --config.train.transforms say how')


def check_names(opened: Mapping[str, Dataset]) -> None:
  """Refuses evaluations whose classes are not those of training, in the same order.

  Args:
    opened: split -> its source, opened.

  Raises:
    UserError: naming the split and the first class that differs.
  """
  train = opened['train']
  ours = train.classes
  for name, dataset in opened.items():
    theirs = dataset.classes
    if ours is None or theirs is None or ours == theirs:
      continue
    if len(ours) != len(theirs):
      raise UserError(f'{name}: its data has {len(theirs)} classes, that of train '
                      f'{len(ours)}')
    if not (train.named and dataset.named):
      continue
    index = next(i for i in range(len(ours)) if ours[i] != theirs[i])
    raise UserError(f'{name}: class {index} is {theirs[index]!r} in its data, and '
                    f'{ours[index]!r} in that of train')
