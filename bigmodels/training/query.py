"""Columns that a finished run is queried with: checked, batched, transformed."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.tables import table
from bigmodels.training.build import Built

_BATCH = 500  # examples at a time


def checked(built: Built, run: str, inputs: Any, others: Mapping[str, Any]
            ) -> dict[str, np.ndarray]:
  """The columns `[n, ...]` of a query, checked against what the run reads.

  Lists and arrays of float64 become float32 where the run reads that.

  Args:
    built: the run.
    run: its name, for errors.
    inputs: the column of this name, or None.
    others: name -> column.

  Raises:
    UserError: for columns that do not fit the run.
  """
  kept = built.data['kept']
  fitted = next((kept[name] for name in kept if name.startswith(table.FITTED)), None)
  if fitted is not None:
    raise UserError(
      f'{run} reads a table with the columns {listed(fitted["columns"])}, cleaned by '
      'steps that were fitted to it: an array has not gone through them')
  like, tokenizer = example(built), built.train.dataset.tokenizer
  reads = [name for name in built.task.inputs if name in like]
  given = others if inputs is None else {'inputs': inputs, **others}
  unknown = [name for name in given if name not in reads]
  if unknown:
    raise UserError(f'{run} reads {", ".join(reads)}, not {", ".join(unknown)}')
  columns = {name: _array(name, column, like[name].dtype)
             for name, column in given.items()}
  if tokenizer is not None and 'inputs' in columns:
    columns['inputs'] = _tokens(columns['inputs'], like['inputs'], tokenizer.size, run)
    pad = tokenizer.special.get('pad')
    if 'segments' in reads and 'segments' not in columns and pad is not None:
      later = np.cumsum((columns['inputs'] != pad)[:, ::-1], 1)[:, ::-1]
      columns['segments'] = (later > 0).astype(like['segments'].dtype)
  missing = [name for name in reads if name not in columns]
  if missing:
    raise UserError(f'{run} needs the column{"s" * (len(missing) > 1)} '
                    f'{", ".join(missing)}: pass {"=..., ".join(missing)}=...')
  for name in columns:
    _check(name, columns, like[name], run)
  return columns


def example(built: Built) -> dict[str, np.ndarray]:
  """Every column `[1, ...]` of one example of the training split."""
  return built.train.dataset.read(np.zeros(1, int))


def length(columns: Mapping[str, Any]) -> int:
  """The number of rows of columns `[n, ...]`."""
  return len(next(iter(columns.values())))


def batches(columns: Mapping[str, np.ndarray]
            ) -> Iterator[tuple[dict[str, np.ndarray], int]]:
  """Batches of columns `[n, ...]`, padded to one size, and the row each begins at.

  Raises:
    UserError: if there are no rows.
  """
  rows = length(columns)
  if not rows:
    raise UserError(f'{next(iter(columns))}: must have >= 1 row, got 0')
  size = min(_BATCH, rows)
  for start in range(0, rows, size):
    parts = {name: x[start : start + size] for name, x in columns.items()}
    yield {name: np.concatenate([
      x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
      for name, x in parts.items()}, start


def batch(built: Built, columns: Mapping[str, Any], first: int = 0
          ) -> dict[str, jax.Array]:
  """A batch as the run's transforms make it; missing columns are zeros.

  Args:
    built: the run.
    columns: name -> `[n, ...]`.
    first: number of the first row.
  """
  count = length(columns)
  rows = first + jnp.arange(count, dtype=jnp.int32)
  columns = {
    **{name: jnp.zeros((count, *x.shape[1:]), x.dtype)
       for name, x in example(built).items() if name != 'corrupt'},
    **columns, 'rows': rows, 'epochs': jnp.zeros_like(rows)}
  return built.train.batch({}, {k: v[None] for k, v in columns.items()}, 0,
                           [jax.random.PRNGKey(0)])


def _array(name: str, column: Any, dtype: np.dtype) -> np.ndarray:
  if isinstance(column, Mapping) or hasattr(column, 'columns'):
    raise UserError(f'{name}: must be an array, got {type(column).__name__}')
  if np.ma.is_masked(column):
    raise UserError(f'{name}: must be an array without masked values, got '
                    f'{np.ma.count_masked(column):,} of them')
  try:
    array = np.asarray(column)
  except ValueError as error:  # a ragged list
    raise UserError(
      f'{name}: must be an array of rows of one shape ({error})') from None
  if array.dtype == np.float64 and dtype == np.float32:
    with np.errstate(over='ignore'):  # an infinity is refused below
      return array.astype(dtype)
  return array


def _check(name: str, columns: Mapping[str, np.ndarray], like: np.ndarray, run: str
           ) -> None:
  array, first = columns[name], next(iter(columns))
  if array.shape[1:] != like.shape[1:] or array.dtype != like.dtype or not array.ndim:
    raise _misfit(name, array, like, like.dtype, run)
  if len(array) != len(columns[first]):
    raise UserError(f'{name}: must have as many rows as {first}, '
                    f'{len(columns[first])}, got {len(array)}')
  if array.dtype.kind == 'f':
    wrong = ~np.isfinite(array).all(tuple(range(1, array.ndim)))
    if wrong.any():
      raise UserError(f'{name}: {wrong.sum():,} of {len(array):,} rows have values '
                      f'that are not finite in {array.dtype}, the first is row '
                      f'{wrong.argmax()}')


def _misfit(name: str, array: np.ndarray, like: np.ndarray, kind: Any, run: str
            ) -> UserError:
  shape = ', '.join(map(str, ('n', *like.shape[1:])))
  return UserError(f'{run}: {name}: must be [{shape}] {kind}, got '
                   f'{[*array.shape]} {array.dtype}')


def _tokens(inputs: np.ndarray, like: np.ndarray, size: int, run: str) -> np.ndarray:
  """Tokens in the type of the data, all of them of the vocabulary."""
  if inputs.dtype.kind not in 'iu' or inputs.shape[1:] != like.shape[1:]:
    raise _misfit('inputs', inputs, like, 'integers', run)
  wrong = (inputs < 0) | (inputs >= size)
  if wrong.any():
    row, position = np.argwhere(wrong)[0]
    raise UserError(f'inputs: the token {inputs[row, position]} of row {row} is not in '
                    f'the vocabulary, 0 to {size - 1}')
  return inputs.astype(like.dtype)
