"""Cleaning steps for tables: fitted on the training rows, applied to all rows.

An experiment lists functions that return a `Step`, or `partial`s of them:

  clean=(cleaning.drop_duplicates, partial(cleaning.one_hot, max_categories=20))

A new step is a function that returns a `Step`. Steps get columns as in `frames`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import listed, number
from bigmodels.data.frames import (
  Frame,
  groups_of,
  is_text,
  missing,
  numbers_of,
  rows_of,
  take,
)

Parameters = dict[str, Any]

MISSING = 'missing'  # the category that a missing text becomes


class Step(NamedTuple):
  """One cleaning step.

  Attributes:
    fit: (training rows) -> parameters, plain JSON. A step that drops rows is fitted to
      all rows.
    apply: (parameters, rows) -> cleaned rows; rows must be independent of each other.
    describe: (parameters, all rows before, all rows after) -> a description to print.
    keep: (parameters, rows) -> indices of the rows to keep, int `[n]`; None for a step
      that drops no rows. A step that does is applied before the split, wherever it is
      listed, and gets the label too.
    losses: (parameters, rows before, rows after) -> column -> number of its values that
      are lost, or became equal to other values; 'rows' for rows.
    unseen: (parameters, rows before) -> text column -> its values `[n]` that are not in
      training and have no meaning after the step.
    loss_note: what happens to them, and the setting that changes it, to print.
  """

  fit: Callable[[Frame], Parameters]
  apply: Callable[[Parameters, Frame], Frame]
  describe: Callable[[Parameters, Frame, Frame], str]
  keep: Callable[[Parameters, Frame], np.ndarray] | None = None
  losses: Callable[[Parameters, Frame, Frame], dict[str, int]] = lambda *_: {}
  loss_note: str = ''
  unseen: Callable[[Parameters, Frame], dict[str, np.ndarray]] = lambda *_: {}

  @property
  def drops_rows(self) -> bool:
    """Whether it drops rows, and so is applied before the split."""
    return self.keep is not None


def _row_step(keep: Callable[[Frame], np.ndarray], what: str, instead: str) -> Step:
  def losses(_, before, after):
    return {'rows': rows_of(before) - rows_of(after)}

  def describe(_, before, after):
    dropped = rows_of(before) - rows_of(after)
    return f'{dropped:,} of {rows_of(before):,} rows dropped, {what}'

  return Step(lambda _: {}, lambda _, frame: take(frame, keep(frame)), describe,
              lambda _, frame: keep(frame), losses, f'dropped; {instead}')


def drop_duplicates() -> Step:
  """Drops every row that equals an earlier one in all columns, label included.

  In a table of codes, equal rows show how frequent a case is. Without them, a rare case
  has the same weight as a common one.
  """

  def firsts(frame):
    return np.sort(np.unique(groups_of(frame), return_index=True)[1])

  return _row_step(firsts, 'equal to an earlier one',
                   'duplicates=together keeps them, with equal rows in one split')


def drop_incomplete() -> Step:
  """Drops every row with a missing value: the alternative to `fill_missing`."""
  return _row_step(
    lambda frame: np.flatnonzero(
      ~np.any([missing(c) for c in frame.values()], axis=0)),
    'with a missing value', 'cleaning.fill_missing keeps them')


# --- columns, fitted on the training rows ---------------------------------------


def drop_constant() -> Step:
  """Drops columns with at most one value in the training rows.

  A missing number does not count as a value. A missing text does, since its absence
  may be informative (see `fill_missing`).
  """

  def constant(column):
    values = column if is_text(column) else column[~missing(column)]
    return len(values) == 0 or bool(np.all(values == values[0]))

  def fit(train):
    return {'dropped': [name for name, c in train.items() if constant(c)]}

  def apply(parameters, frame):
    return {n: c for n, c in frame.items() if n not in parameters['dropped']}

  def describe(parameters, before, after):
    return f'{listed(parameters["dropped"])} dropped'

  def losses(parameters, before, after):
    return {n: rows_of(before) - int(np.unique(before[n], return_counts=True)[1].max())
            for n in parameters['dropped'] if rows_of(before)}

  return Step(fit, apply, describe, losses=losses, loss_note=(
    'different from the rest of a dropped column; remove drop_constant from clean to '
    'keep it'))


def fill_missing() -> Step:
  """Replaces missing numbers by the training median, and missing texts by 'missing'.

  A number that is missing in every training row becomes 0.
  """

  def middle(column):
    present = column[~missing(column)]
    return float(np.median(present)) if len(present) else 0.0

  def fit(train):
    return {n: MISSING if is_text(c) else middle(c) for n, c in train.items()}

  def filled(column, value):
    gone = missing(column)
    return np.where(gone, value, column).astype(column.dtype) if gone.any() else column

  def apply(parameters, frame):
    return {n: filled(c, parameters[n]) for n, c in frame.items()}

  def losses(parameters, before, after):
    return {n: int(missing(c).sum()) for n, c in before.items()}

  def describe(parameters, before, after):
    counts = losses(parameters, before, after)
    return listed(
      f'{count:,} values of {n} by ' + (
        f'the category {MISSING!r}' if is_text(before[n])
        else f'the training median {number(parameters[n])}')
      for n, count in counts.items() if count)

  return Step(fit, apply, describe, losses=losses, loss_note=(
    'missing and filled in; cleaning.drop_incomplete in clean drops their rows '
    'instead'))


def log_skewed(skewness: float = 1.0) -> Step:
  """Takes the logarithm of numbers with a long tail: log(1 + x / training median).

  It applies to columns without negative numbers, and with more than two values, in the
  training rows. For negative numbers in other rows the function is odd.

  Args:
    skewness: minimum third standardized moment of a column in the training rows (it is
      2 for an exponential distribution and 0 for a normal one).
  """

  def scale(column):
    values = column[~missing(column)]
    if len(np.unique(values)) < 3 or values.min() < 0:
      return None
    centred = values - values.mean()
    skewed = np.mean(centred**3) > skewness * np.mean(centred**2) ** 1.5
    return float(np.median(values[values > 0])) if skewed else None

  def fit(train):
    scales = {n: scale(c) for n, c in train.items() if not is_text(c)}
    return {n: s for n, s in scales.items() if s}

  def apply(parameters, frame):
    return frame | {
      n: np.sign(frame[n]) * np.log1p(np.abs(frame[n]) / s)
      for n, s in parameters.items()}

  def describe(parameters, before, after):
    return listed(parameters)

  return Step(fit, apply, describe)


def clip_outliers(deviations: float = 5.0) -> Step:
  """Clips numbers far from the training median.

  The limits are median +- deviations * IQR / 1.349, where IQR is the interquartile
  range of the training rows. For a normal distribution this is `deviations` standard
  deviations, and it is robust to outliers. A column with equal quartiles is unchanged.

  Args:
    deviations: distance of the limits from the median.
  """

  def limits(column):
    low, middle, high = np.quantile(column[~missing(column)], (0.25, 0.5, 0.75))
    reach = deviations * (high - low) / 1.349
    return [float(middle - reach), float(middle + reach)]

  def fit(train):
    found = {n: limits(c) for n, c in train.items()
             if not is_text(c) and not missing(c).all()}
    return {n: f for n, f in found.items() if f[0] < f[1]}

  def apply(parameters, frame):
    return frame | {n: np.clip(frame[n], *f) for n, f in parameters.items()}

  def losses(parameters, before, after):
    return {n: int(np.sum((before[n] < f[0]) | (before[n] > f[1])))
            for n, f in parameters.items()}

  def describe(parameters, before, after):
    counts = losses(parameters, before, after)
    return listed(
      f'{count:,} values of {n} to %.4g .. %.4g' % tuple(parameters[n])
      for n, count in counts.items() if count)

  return Step(fit, apply, describe, losses=losses, loss_note=(
    'clipped to the limits of the training rows; partial(cleaning.clip_outliers, '
    f'deviations={number(2 * deviations)}) in clean widens the limits, and without '
    'clip_outliers nothing is clipped'))


def one_hot(max_categories: int = 50) -> Step:
  """Replaces a text column by 0/1 columns, one per category, `NAME=CATEGORY`.

  A category that was not in the training rows is 0 in all of them, and so is a missing
  one unless `fill_missing` comes before. Columns with too many values, such as names,
  dates and identifiers, are dropped instead.

  Args:
    max_categories: maximum number of categories of a column in the training rows.
  """

  def fit(train):
    values = {n: np.unique(c[~missing(c)]).tolist()
              for n, c in train.items() if is_text(c)}
    return {n: {'values': len(v), 'categories': v if len(v) <= max_categories else []}
            for n, v in values.items()}

  def names(parameters, frame):
    """(text column, category) -> an unused name for its column."""
    found, taken = {}, {name for name in frame if name not in parameters}
    for name in filter(parameters.__contains__, frame):
      for category in parameters[name]['categories']:
        new, count = f'{name}={category}', 1
        while new in taken:
          count += 1
          new = f'{name}={category} ({count})'
        taken.add(new)
        found[name, category] = new
    return found

  def apply(parameters, frame):
    result, named = {}, names(parameters, frame)
    for name, column in frame.items():
      if name not in parameters:
        result[name] = column
        continue
      categories = parameters[name]['categories']
      hot = np.zeros((len(categories), len(column)))
      found = numbers_of(column, categories)
      rows, = np.nonzero(found >= 0)
      hot[found[rows], rows] = 1
      for category, row in zip(categories, hot, strict=True):
        result[named[name, category]] = row
    return result

  def losses(parameters, before, after):
    found = {name: rows_of(before) for name in parameters}
    for (name, _), new in names(parameters, before).items():
      found[name] -= int(after[new].sum())
    return found

  def unseen(parameters, before):
    return {name: before[name][numbers_of(before[name], p['categories']) < 0]
            for name, p in parameters.items() if p['categories']}

  def describe(parameters, before, after):
    def outcome(name, values, categories):
      if values > max_categories:
        return (f'{name} DROPPED, since it has {values:,} values, more than '
                f'{max_categories}')
      return f'{name} as {len(categories)} columns' + (
        f', {lost[name]:,} values that are not in training are 0 in all'
        if lost[name] else '')

    lost = losses(parameters, before, after)
    other = [f'{new} for {category!r} of {name}' for (name, category), new in names(
      parameters, before).items() if new != f'{name}={category}']
    return '; '.join([listed(outcome(n, **p) for n, p in parameters.items()), *(
      [f'the name of another column is taken: {listed(other)}'] if other else [])])

  return Step(fit, apply, describe, losses=losses, unseen=unseen, loss_note=(
    'not in a category of training, and so 0 in all; a column with more than '
    f'{max_categories} values has none: partial(cleaning.one_hot, max_categories=N) in '
    'clean allows N'))


def standardize(robust: bool = False) -> Step:
  """Replaces numbers by (x - mean) / standard deviation, both of the training rows.

  Columns of only 0 and 1, such as those of `one_hot`, are not changed, as a rare
  category would become an outlier.

  Args:
    robust: the median in place of the mean, and 1.2533 times the mean distance from it
      in place of the deviation, which it is for a normal distribution. Few outliers
      make a deviation large, and so hide themselves (Iglewicz and Hoaglin, *How to
      Detect and Handle Outliers*, 1993).
  """

  def moments(values):
    centre = np.median(values) if robust else values.mean()
    spread = np.sqrt(np.pi / 2) * np.abs(values - centre).mean() if (
      robust) else values.std()
    # By rounding, a constant column may have a deviation of about 1e-16 of its mean.
    varied = values.min() < values.max()
    return [float(centre), float(spread) or 1.0 if varied else 1.0]

  def fit(train):
    numbers = {n: c[~missing(c)] for n, c in train.items() if not is_text(c)}
    return {n: moments(v) for n, v in numbers.items()
            if len(v) and not np.isin(v, (0.0, 1.0)).all()}

  def apply(parameters, frame):
    return frame | {n: (frame[n] - mean) / std
                    for n, (mean, std) in parameters.items()}

  def describe(parameters, before, after):
    centre, spread = ('median', 'mean distance 0.798 from it') if robust else (
      'mean', 'deviation 1')
    return f'{listed(parameters)} to {centre} 0, {spread} in training'

  return Step(fit, apply, describe)
