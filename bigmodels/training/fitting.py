"""Checks, before anything is compiled, that model, learner and data fit."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from bigmodels.core import tree_paths
from bigmodels.core.errors import UserError, message_of
from bigmodels.data.batches import Loader
from bigmodels.learners.learner import State


@contextlib.contextmanager
def explained(train: Loader, name: str = 'train', loader: Loader | None = None
              ) -> Iterator[None]:
  """Turns an error of a model about a split into a `UserError`.

  It names the columns that are not as in training, of a `UserError` too, such as that
  of a transform.

  Args:
    train: the training loader.
    name: of the split.
    loader: of the split; None for that of training.

  Raises:
    UserError: for any error inside.
  """
  try:
    yield
  except Exception as error:  # users write models
    reason = str(error) if isinstance(error, UserError) else (
      f'the model and the data of {name!r} do not fit: {message_of(error)}')
    ours, theirs = (_shapes(each) for each in (train, loader or train))
    for column in ours:
      if theirs.get(column, ours[column]) != ours[column]:
        reason += (f"; column {column!r} is {theirs[column]} in {name!r}, "
                   f"{ours[column]} in 'train'")
    raise UserError(reason) from error


def _shapes(loader: Loader) -> dict[str, str]:
  """Column -> dtype and shape of an example."""
  columns = loader.dataset.read(np.zeros(1, int))
  return {name: f'{x.dtype} {x.shape[1:]}' for name, x in columns.items()}


def check_state(before: State, after: Any) -> None:
  """Checks that a step returns a state of the shapes that it was given.

  Raises:
    UserError: if an array changes its shape or dtype, is missing or new.
  """
  old, new = ({tree_paths.name_of(path): (x.shape, x.dtype) for path, x in
               jax.tree.leaves_with_path(state)} for state in (before, after))
  for name in {**old, **new}:
    shown = [f'{found[name][1]} {found[name][0]}' if name in found else 'absent'
             for found in (old, new)]
    if shown[0] != shown[1]:
      raise UserError(f'a step of the learner must leave the shapes of its state: '
                      f'{name} is {shown[0]} before it and {shown[1]} after')


def check_metrics(split: str, metrics: dict[str, Any]) -> None:
  """Checks that a learner gives metrics, and nothing else among them.

  Raises:
    UserError: if there is none, or a value that cannot be computed.
  """
  if not metrics:
    raise UserError(f"{split}: must have a metric, such as 'loss', has none")
  for name, metric in metrics.items():
    if not hasattr(metric, 'compute'):
      raise UserError(
        f'{split}/{name}: a metric must be a NamedTuple of sums with compute(), such '
        f'as metrics.Mean(total, count), got a {type(metric).__name__}')


def check_outputs(split: str, outputs: dict[str, jax.ShapeDtypeStruct]) -> None:
  """Checks that each output has a row for each example.

  Raises:
    UserError: for the first output without.
  """
  rows = outputs['mask'].shape[0]
  for name, output in outputs.items():
    if output.shape[:1] != (rows,):
      raise UserError(f'{split}: the output {name!r} must have a row for each of the '
                      f'{rows} examples of a batch, got the shape {output.shape}')
