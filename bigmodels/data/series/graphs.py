"""The graph of the variables of a series, which a run keeps as its edges."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, one_line

KEPT = 'graph'  # name in `DataContext.keep`


def read(path: Any, names: Sequence[str]) -> dict[str, Any]:
  """Returns the edges of an adjacency matrix in a file, as JSON.

  Args:
    path: path of the file: numbers separated by commas, no header.
    names: names of the nodes.

  Raises:
    UserError: unless it is a square matrix of weights >= 0, a row for each name.
  """
  try:
    matrix = np.loadtxt(path, delimiter=',', ndmin=2)
  except (OSError, ValueError) as error:
    raise UserError(f'graph: {path}: {one_line(str(error), 120)}') from None
  if matrix.shape != (len(names), len(names)):
    raise UserError(f'graph: {path}: must be {len(names)} x {len(names)}, a row and a '
                    f'column for each target, got {matrix.shape[0]} x '
                    f'{matrix.shape[1]}')
  if not np.isfinite(matrix).all() or (matrix < 0).any():
    raise UserError(f'graph: {path}: weights must be finite and >= 0')
  return {'nodes': len(names), 'edges': [
    [int(i), int(j), float(matrix[i, j])] for i, j in np.argwhere(matrix > 0)]}


def adjacency(kept: Mapping[str, Any]) -> np.ndarray:
  """Returns the matrix of what `read` gives, float32 `[nodes, nodes]`."""
  found = np.zeros((kept['nodes'], kept['nodes']), np.float32)
  for i, j, weight in kept['edges']:
    found[int(i), int(j)] = weight
  return found


def provided(kept: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
  """Returns what a dataset provides of the graph that a run keeps, if it has one."""
  return {'adjacency': lambda: adjacency(kept[KEPT])} if KEPT in kept else {}
