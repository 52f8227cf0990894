"""Folds of cross-validation: disjoint parts of rows, each the test rows of one run."""

import numpy as np

from bigmodels.core.errors import UserError


def check_fold(fold: int, folds: int) -> None:
  """Refuses a fold that does not exist.

  Args:
    fold: number of a fold, from 0.
    folds: number of folds.

  Raises:
    UserError: naming the legal numbers.
  """
  for name, value in (('fold', fold), ('folds', folds)):
    if not isinstance(value, int) or isinstance(value, bool):
      raise UserError(f'{name}: must be an integer, got {value!r}')
  if folds < 2:
    raise UserError(f'folds: must be >= 2, got {folds}')
  if not 0 <= fold < folds:
    raise UserError(f'fold: must be 0 to {folds - 1} of {folds} folds, got {fold}')


def fold_of(length: int, folds: int, *, seed: int = 0, groups: np.ndarray | None = None,
            classes: np.ndarray | None = None) -> np.ndarray:
  """Returns the number of the fold of every row, int `[length]`.

  The folds are a function of the arguments. Rows, or groups, differ by at most one in
  number between folds, in every class as in total.

  Args:
    length: number of rows.
    folds: number of folds, >= 2.
    seed: seed of the random order, >= 0.
    groups: the group number of each row, int `[length]`; rows of a group are in the
      same fold. None: each row is its own group.
    classes: the class of each row, int >= 0 `[length]`, to stratify by; the class of a
      group is the rarest that it has. None: not stratified.

  Raises:
    UserError: if there are more folds than rows, or groups, of all or of a class.
  """
  if not isinstance(seed, int) or seed < 0:
    raise UserError(f'fold_seed: must be an integer >= 0, got {seed!r}')
  # A bit generator's raw stream is stable across NumPy releases; shuffles are not.
  random = np.random.Philox(key=[length, seed]).random_raw(length)
  codes = np.zeros(length, int) if classes is None else classes
  rarity = np.bincount(codes)[codes]
  # One row of each group stands for it: that of its rarest class.
  order = np.lexsort((random, codes, rarity))
  _, first, group = np.unique(np.arange(length)[order] if groups is None else (
    groups[order]), return_index=True, return_inverse=True)
  dealt = np.lexsort((random[order][first], codes[order][first]))
  counts = np.bincount(codes[order][first])
  if (least := int(counts[counts > 0].min())) < folds:
    what = 'rows' if groups is None else 'groups of rows that stay together'
    raise UserError(f'folds: must be <= {least}, the number of {what}' + (
      '' if classes is None else ' of the rarest class') + f', got {folds}' + (
      '' if classes is None else '; stratified=False does not need one in every fold'))
  fold = np.empty(len(first), int)
  fold[dealt] = np.arange(len(first)) % folds
  result = np.empty(length, int)
  result[order] = fold[group]
  return result
